// model/weights/writer.h — writes a *.rill file as a stream: one tensor at a time, nothing kept but
// the directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/io/atomic_write.h"
#include "model/weights/tensor_table.h"

namespace rill {

// A named run of bytes that is not a tensor: the tokenizer's vocabulary, its settings.
struct BlobSpec {
  std::string name;  // "tokenizer.tiktoken", "tokenizer.config"
  std::string bytes;
};

class ModelWriter {  // One caller at a time.
 public:
  // Lays the file out (all offsets are known from the table) and creates the temporary file.
  static absl::StatusOr<std::unique_ptr<ModelWriter>> Create(FileSystem& fs,
                                                             const std::string& path,
                                                             const ModelConfig& config,
                                                             const Recipe& recipe,
                                                             std::vector<BlobSpec> blobs);
  ~ModelWriter();

  const std::vector<TensorSpec>& table() const;
  uint64_t file_bytes() const;

  // Writes the next part of tensor `index` of the table, `offset` bytes into it. Parts of one
  // tensor come in ascending order without gaps; tensors may come in any order.
  absl::Status Write(size_t index, uint64_t offset, const void* bytes, size_t n);

  // Checks that every tensor was written whole, writes directory and header, commits. On error no
  // file is left.
  absl::Status Finish();

 private:
  struct Impl;
  explicit ModelWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Size of the file ModelWriter would make, without making it.
absl::StatusOr<uint64_t> PlannedFileBytes(const ModelConfig& config, const Recipe& recipe,
                                          const std::vector<BlobSpec>& blobs);

}  // namespace rill
