#define _FILE_OFFSET_BITS 64

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/posix_error.h"
#include "model/io/posix_file.h"

namespace rill {
namespace {

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
    RILL_ASSIGN_OR_RETURN(Descriptor descriptor,
                          OpenDescriptor(path, O_RDONLY | O_NONBLOCK, "open"));
    struct stat info;
    if (fstat(descriptor.fd(), &info) != 0) return PosixError(path, "stat", errno);
    if (!S_ISREG(info.st_mode))
      return absl::InvalidArgumentError(absl::StrCat(path, ": open: not a regular file"));
    return MakePosixReadable(std::move(descriptor), static_cast<uint64_t>(info.st_size));
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override {
    RILL_ASSIGN_OR_RETURN(Descriptor descriptor,
                          OpenDescriptor(path, O_WRONLY | O_CREAT | O_EXCL, "create"));
    return MakePosixWritable(std::move(descriptor));
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override {
    RILL_ASSIGN_OR_RETURN(Descriptor descriptor,
                          OpenDescriptor(path, O_WRONLY | O_NONBLOCK, "open for update"));
    return MakePosixWritable(std::move(descriptor));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return PosixError(absl::StrCat(from, " -> ", to), "rename", errno);
  }

  absl::Status Remove(const std::string& path) override {
    return unlink(path.c_str()) == 0 ? absl::OkStatus() : PosixError(path, "remove", errno);
  }

  absl::Status SyncDirectory(const std::string& directory) override {
    RILL_ASSIGN_OR_RETURN(Descriptor descriptor,
                          OpenDescriptor(directory, O_RDONLY | O_DIRECTORY, "open"));
    if (fsync(descriptor.fd()) == 0) return absl::OkStatus();
    if (errno == EINVAL)
      return absl::OkStatus();  // file systems without synchronisation of folders have no other
    return PosixError(directory, "sync", errno);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return PosixError(directory, "list", errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return PosixError(directory, "list", error);
    return names;
  }

  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return PosixError(path, "stat", errno);
    return static_cast<uint64_t>(info.st_size);
  }

  bool IsDirectory(const std::string& path) override {
    struct stat info;
    return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }
};

}  // namespace

FileSystem* FileSystem::Posix() {
  static PosixFileSystem* const file_system = new PosixFileSystem;
  return file_system;
}

}  // namespace rill
