// tests/support/buffer_fs.h — a file system of one read-only file, whose bytes the test changes as
// it likes between opens. Maps without copying: a million opens of a small file take seconds.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/io/file.h"

namespace rill::test {

class BufferFileSystem : public FileSystem {
 public:
  explicit BufferFileSystem(std::string bytes) : bytes_(std::move(bytes)), size_(bytes_.size()) {}

  std::string& bytes() { return bytes_; }
  void set_size(uint64_t size) { size_ = size; }  // at most that of bytes()

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string&) override {
    return std::make_unique<Reader>(bytes_.data(), size_);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string&) override {
    return ReadOnly();
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string&) override {
    return ReadOnly();
  }
  absl::Status Rename(const std::string&, const std::string&) override { return ReadOnly(); }
  absl::Status Remove(const std::string&) override { return ReadOnly(); }
  absl::Status SyncDirectory(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<uint64_t> FileSize(const std::string&) override { return size_; }
  bool IsDirectory(const std::string&) override { return false; }

 private:
  static absl::Status ReadOnly() { return absl::PermissionDeniedError("read-only"); }

  class Region : public MappedRegion {
   public:
    Region(const char* data, uint64_t size) : data_(data), size_(size) {}
    const std::byte* data() const override { return reinterpret_cast<const std::byte*>(data_); }
    uint64_t size() const override { return size_; }
    void WillNeed(uint64_t, uint64_t) const override {}

   private:
    const char* data_;
    uint64_t size_;
  };

  class Reader : public ReadableFile {
   public:
    Reader(const char* data, uint64_t size) : data_(data), size_(size) {}
    uint64_t size() const override { return size_; }
    absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
      absl::Status status = Check(offset, bytes);
      if (status.ok() && bytes > 0) std::memcpy(dst, data_ + offset, bytes);
      return status;
    }
    absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                      uint64_t bytes) const override {
      const absl::Status status = Check(offset, bytes);
      if (!status.ok()) return status;
      return std::make_unique<Region>(data_ + offset, bytes);
    }

   private:
    absl::Status Check(uint64_t offset, uint64_t bytes) const {
      if (offset <= size_ && bytes <= size_ - offset) return absl::OkStatus();
      return absl::DataLossError(absl::StrCat(bytes, " bytes at ", offset, " of ", size_));
    }
    const char* data_;
    uint64_t size_;
  };

  std::string bytes_;
  uint64_t size_;
};

}  // namespace rill::test
