// sdk/tools/resident_files.h — a file system that maps files by reading them into a device's own
// memory: a session loaded through it has its pages where a session that computed them has them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/status.h"
#include "kernels/device/buffer.h"
#include "model/io/file.h"

namespace rill::tools {

class ResidentFileSystem final : public FileSystem {  // Thread-safe.
 public:
  // Borrows both. The device is a host device and outlives every mapping.
  ResidentFileSystem(FileSystem& files, Device& device) : files_(files), device_(device) {}

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    RILL_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, files_.OpenForReading(path));
    return std::make_unique<File>(std::move(file), device_);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override {
    return files_.CreateNew(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override {
    return files_.OpenForUpdate(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return files_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override { return files_.Remove(path); }
  absl::Status SyncDirectory(const std::string& folder) override {
    return files_.SyncDirectory(folder);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override {
    return files_.List(folder);
  }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    return files_.FileSize(path);
  }
  bool IsDirectory(const std::string& path) override { return files_.IsDirectory(path); }

 private:
  class Region final : public MappedRegion {
   public:
    explicit Region(Buffer bytes) : bytes_(std::move(bytes)) {}
    const std::byte* data() const override { return bytes_.as<std::byte>(); }
    uint64_t size() const override { return bytes_.bytes(); }
    void WillNeed(uint64_t, uint64_t) const override {}

   private:
    Buffer bytes_;
  };

  class File final : public ReadableFile {
   public:
    File(std::unique_ptr<ReadableFile> file, Device& device)
        : file_(std::move(file)), device_(device) {}
    uint64_t size() const override { return file_->size(); }
    absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
      return file_->ReadAt(offset, dst, bytes);
    }
    absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                      uint64_t bytes) const override {
      RILL_ASSIGN_OR_RETURN(Buffer copy, Buffer::Allocate(device_, static_cast<size_t>(bytes)));
      RILL_RETURN_IF_ERROR(file_->ReadAt(offset, copy.data(), static_cast<size_t>(bytes)));
      return std::make_unique<Region>(std::move(copy));
    }

   private:
    std::unique_ptr<ReadableFile> file_;
    Device& device_;
  };

  FileSystem& files_;
  Device& device_;
};

}  // namespace rill::tools
