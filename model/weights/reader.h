// model/weights/reader.h — opens a *.rill file and believes nothing in it before it is checked.
//
// Order: size, fixed header, CRC of the directory, aligned copy, FlatBuffers verifier (bounded
// depth and tables), meaning (validate.h), and only then any allocation that a number in the file
// decides.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"
#include "model/config.h"
#include "model/io/file.h"
#include "model/weights/directory.h"
#include "model/weights/tensor_table.h"
#include "model/weights/weights.h"

namespace rill {

// SHA-256 identities that session files are checked against (a CRC tells damage from chance, not
// model from model).
struct Fingerprint {
  uint8_t architecture[32];  // of the config's meaning
  uint8_t tokenizer[32];     // of the tokenizer blobs
  uint8_t weights[32];       // of all tensor CRCs, names, formats and shapes
};

// What a file says of itself, checked. Thread-safe: const.
class ModelFile {
 public:
  // DataLoss: damaged (says what and where). FailedPrecondition: another major version, an unknown
  // layout tag. InvalidArgument: not a Rill model file, or a meaning that cannot be (names both
  // numbers).
  static absl::StatusOr<std::unique_ptr<const ModelFile>> Open(FileSystem& fs,
                                                               const std::string& path);

  const ModelConfig& config() const { return config_; }
  const Recipe& recipe() const { return recipe_; }
  const std::vector<TensorSpec>& table() const { return table_; }
  uint64_t offset(size_t tensor) const { return offsets_[tensor]; }
  uint32_t crc(size_t tensor) const { return crcs_[tensor]; }
  const Fingerprint& fingerprint() const { return fingerprint_; }
  uint64_t file_bytes() const { return file_bytes_; }
  const ReadableFile& file() const { return *file_; }

  // NotFound when the file has no such blob; DataLoss when its checksum fails.
  absl::StatusOr<std::string> Blob(std::string_view name) const;
  const std::vector<BlobRecord>& blobs() const { return blobs_; }

 private:
  friend struct ModelFileParser;
  ModelFile() = default;
  std::unique_ptr<ReadableFile> file_;
  ModelConfig config_;
  Recipe recipe_;
  std::vector<TensorSpec> table_;
  std::vector<uint64_t> offsets_;
  std::vector<uint32_t> crcs_;
  std::vector<BlobRecord> blobs_;
  Fingerprint fingerprint_{};
  uint64_t file_bytes_ = 0;
};

enum class LoadMode : uint8_t {
  kCopy = 0,  // read into memory of our own: a file that changes or shrinks later does no harm
  kMap = 1,   // use the file's pages in place (host devices): the caller promises that it will not
              // change
};

// done and total in bytes of tensors, from 0 to total, never back; returning true cancels the load
// (Cancelled).
using LoadProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Reads (or maps) every tensor and checks its CRC, and that the padding before it is zero, on the
// way when `verify` is set; DataLoss names the tensor or the offset. InvalidArgument for kMap on a
// device that cannot read host memory. Borrows `device` for the life of the weights; `file` may go
// when this returns.
absl::StatusOr<std::unique_ptr<const Weights>> LoadWeights(const ModelFile& file, Device& device,
                                                           LoadMode mode, bool verify,
                                                           const LoadProgress& progress);

}  // namespace rill
