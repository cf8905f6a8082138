// sdk/session_file/output.h — where the writer's bytes go: a file, a callback, or only a checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/io/file.h"

namespace rill {

// done and total in bytes, never back; returning true cancels (Cancelled).
using FileProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Takes the next bytes of a file. An error ends the save with that error.
using ByteSink = absl::FunctionRef<absl::Status(absl::Span<const std::byte>)>;

namespace session_file {

// Offsets ascend from call to call except where a file is behind it; a gap between two writes reads
// as zeros.
class Output {
 public:
  virtual ~Output() = default;
  absl::Status Write(uint64_t offset, const void* data, size_t bytes);
  uint64_t written() const { return written_; }

 private:
  virtual absl::Status Put(uint64_t offset, const void* data, size_t bytes) = 0;
  uint64_t written_ = 0;
};

// Only for the checksums that its writer computes on the way.
class NoOutput final : public Output {
  absl::Status Put(uint64_t, const void*, size_t) override { return absl::OkStatus(); }
};

class SinkOutput final : public Output {
 public:
  explicit SinkOutput(ByteSink sink) : sink_(sink) {}

 private:
  absl::Status Put(uint64_t offset, const void* data, size_t bytes) override;
  ByteSink sink_;
  uint64_t at_ = 0;
};

// WriteAt of anything that has one.
template <typename File>
class FileOutput final : public Output {
 public:
  explicit FileOutput(File& file) : file_(file) {}

 private:
  absl::Status Put(uint64_t offset, const void* data, size_t bytes) override {
    return file_.WriteAt(offset, data, bytes);
  }
  File& file_;
};

// Passes on, and asks before every write whether to go on.
class WatchedOutput final : public Output {
 public:
  WatchedOutput(Output& inner, const FileProgress& progress, uint64_t total)
      : inner_(inner), progress_(progress), total_(total) {}

 private:
  absl::Status Put(uint64_t offset, const void* data, size_t bytes) override;
  Output& inner_;
  const FileProgress& progress_;
  uint64_t total_;
  uint64_t done_ = 0;
};

// `bytes` zeros at `offset`.
absl::Status WriteZeros(Output& out, uint64_t offset, uint64_t bytes);
uint32_t CrcOfZeros(uint64_t bytes, uint32_t crc);

}  // namespace session_file
}  // namespace rill
