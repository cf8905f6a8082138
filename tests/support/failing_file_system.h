// tests/support/failing_file_system.h — another file system, but the n-th operation fails.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "model/io/file.h"

namespace rill::test {

// Counts everything that touches storage (not List, FileSize, IsDirectory and Remove, which have no
// error worth a test or which clean up). Operation `n`, from 0, fails with Unavailable; those after
// it work again. Thread-safe.
class FailingFileSystem : public FileSystem {
 public:
  static constexpr int64_t kNever = -1;
  static constexpr const char* kMessage = "failure made by a test";

  FailingFileSystem(FileSystem& fs, int64_t n) : fs_(fs), n_(n) {}

  int64_t operations() const { return count_; }
  std::string failed() const { return failed_; }  // what the failed operation was
  bool renamed() const { return renamed_; }       // a rename has worked

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    if (Next("open " + path)) return Error();
    auto file = fs_.OpenForReading(path);
    if (!file.ok()) return file.status();
    return std::make_unique<Reader>(*this, *std::move(file));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override {
    if (Next("create " + path)) return Error();
    auto file = fs_.CreateNew(path);
    if (!file.ok()) return file.status();
    return std::make_unique<Writer>(*this, *std::move(file));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override {
    if (Next("update " + path)) return Error();
    auto file = fs_.OpenForUpdate(path);
    if (!file.ok()) return file.status();
    return std::make_unique<Writer>(*this, *std::move(file));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (Next("rename " + from)) return Error();
    const absl::Status status = fs_.Rename(from, to);
    renamed_ = status.ok();
    return status;
  }
  absl::Status Remove(const std::string& path) override { return fs_.Remove(path); }
  absl::Status SyncDirectory(const std::string& directory) override {
    return Next("sync folder " + directory) ? Error() : fs_.SyncDirectory(directory);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    return fs_.List(directory);
  }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override { return fs_.FileSize(path); }
  bool IsDirectory(const std::string& path) override { return fs_.IsDirectory(path); }

 private:
  class Reader : public ReadableFile {
   public:
    Reader(FailingFileSystem& owner, std::unique_ptr<ReadableFile> file)
        : owner_(owner), file_(std::move(file)) {}
    uint64_t size() const override { return file_->size(); }
    absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
      return owner_.Next("read") ? Error() : file_->ReadAt(offset, dst, bytes);
    }
    absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                      uint64_t bytes) const override {
      if (owner_.Next("map")) return Error();
      return file_->Map(offset, bytes);
    }

   private:
    FailingFileSystem& owner_;
    std::unique_ptr<ReadableFile> file_;
  };

  class Writer : public WritableFile {
   public:
    Writer(FailingFileSystem& owner, std::unique_ptr<WritableFile> file)
        : owner_(owner), file_(std::move(file)) {}
    absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) override {
      return owner_.Next("write") ? Error() : file_->WriteAt(offset, src, bytes);
    }
    absl::Status Truncate(uint64_t size) override {
      return owner_.Next("truncate") ? Error() : file_->Truncate(size);
    }
    absl::Status Sync() override { return owner_.Next("sync") ? Error() : file_->Sync(); }
    absl::Status Close() override { return owner_.Next("close") ? Error() : file_->Close(); }

   private:
    FailingFileSystem& owner_;
    std::unique_ptr<WritableFile> file_;
  };

  static absl::Status Error() { return absl::UnavailableError(kMessage); }

  bool Next(const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (count_++ != n_) return false;
    failed_ = what;
    return true;
  }

  FileSystem& fs_;
  const int64_t n_;
  std::mutex mutex_;
  int64_t count_ = 0;
  std::string failed_;
  bool renamed_ = false;
};

}  // namespace rill::test
