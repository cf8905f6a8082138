// tests/support/sabotage.h — file systems that lie in one way, to see that a test of durability can
// fail.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "model/io/file.h"

namespace rill::test {

enum class Lie {
  kNone,
  kNoSync,           // no Sync reaches the disk
  kNoFirstSync,      // only the first of each open file does not
  kNoLaterSync,      // only the first of each open file does
  kRenameByCopying,  // the target is written in place
  kNoDirectorySync,
};

class SabotagedFileSystem : public FileSystem {
 public:
  SabotagedFileSystem(FileSystem& inner, Lie lie) : inner_(inner), lie_(lie) {}

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    return inner_.OpenForReading(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override {
    return Wrap(inner_.CreateNew(path));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override {
    return Wrap(inner_.OpenForUpdate(path));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (lie_ != Lie::kRenameByCopying) return inner_.Rename(from, to);
    const auto bytes = ReadWholeFile(inner_, from, uint64_t{1} << 30);
    if (!bytes.ok()) return bytes.status();
    auto file = inner_.OpenForUpdate(to);
    if (!file.ok()) file = inner_.CreateNew(to);
    if (!file.ok()) return file.status();
    absl::Status status = (*file)->Truncate(0);
    if (status.ok()) status = (*file)->WriteAt(0, bytes->data(), bytes->size());
    if (status.ok()) status = (*file)->Sync();
    return status.ok() ? inner_.Remove(from) : status;
  }
  absl::Status Remove(const std::string& path) override { return inner_.Remove(path); }
  absl::Status SyncDirectory(const std::string& directory) override {
    return lie_ == Lie::kNoDirectorySync ? absl::OkStatus() : inner_.SyncDirectory(directory);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    return inner_.List(directory);
  }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    return inner_.FileSize(path);
  }
  bool IsDirectory(const std::string& path) override { return inner_.IsDirectory(path); }

 private:
  class Writer : public WritableFile {
   public:
    Writer(std::unique_ptr<WritableFile> file, Lie lie) : file_(std::move(file)), lie_(lie) {}
    absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) override {
      return file_->WriteAt(offset, src, bytes);
    }
    absl::Status Truncate(uint64_t size) override { return file_->Truncate(size); }
    absl::Status Sync() override {
      const bool first = n_syncs_++ == 0;
      const bool lost = lie_ == Lie::kNoSync || (lie_ == Lie::kNoFirstSync && first) ||
                        (lie_ == Lie::kNoLaterSync && !first);
      return lost ? absl::OkStatus() : file_->Sync();
    }
    absl::Status Close() override { return file_->Close(); }

   private:
    std::unique_ptr<WritableFile> file_;
    Lie lie_;
    int n_syncs_ = 0;
  };

  absl::StatusOr<std::unique_ptr<WritableFile>> Wrap(
      absl::StatusOr<std::unique_ptr<WritableFile>> file) const {
    if (!file.ok()) return file.status();
    return std::make_unique<Writer>(*std::move(file), lie_);
  }

  FileSystem& inner_;
  Lie lie_;
};

}  // namespace rill::test
