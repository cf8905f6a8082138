// c_api/callback_file.h — a file that is a callback of the caller's.
#pragma once

#include <memory>
#include <string>

#include "c_api/include/rill/rill.h"
#include "model/io/file.h"

namespace rill::capi {

// A file system whose every path is the same file of `size` bytes, to be read and nothing else.
class CallbackFiles final : public FileSystem {
 public:
  CallbackFiles(uint64_t size, rill_read_fn read, void* ud) : size_(size), read_(read), ud_(ud) {}

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::StatusOr<uint64_t> FileSize(const std::string&) override { return size_; }
  bool IsDirectory(const std::string&) override { return false; }

 private:
  uint64_t size_;
  rill_read_fn read_;
  void* ud_;
};

}  // namespace rill::capi
