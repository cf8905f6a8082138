// sdk/session_file/image.h — the bytes of a file in memory: mapped where the system can, read where
// it cannot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "model/io/file.h"

namespace rill::session_file {

class FileImage {  // Thread-safe: const.
 public:
  // The first `bytes` of the file. ResourceExhausted when they would have to be read and are more
  // than `max_copy_bytes`, or there is no memory.
  static absl::StatusOr<std::shared_ptr<const FileImage>> Open(const ReadableFile& file,
                                                               uint64_t bytes,
                                                               uint64_t max_copy_bytes);
  ~FileImage();
  FileImage(const FileImage&) = delete;

  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  bool mapped() const { return region_ != nullptr; }
  void WillNeed(uint64_t offset, uint64_t bytes) const {
    if (region_ != nullptr) region_->WillNeed(offset, bytes);
  }

 private:
  FileImage() = default;
  std::unique_ptr<MappedRegion> region_;
  std::byte* copy_ = nullptr;
  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace rill::session_file
