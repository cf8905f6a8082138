// model/io/posix_file.h — the three kinds of open file behind FileSystem::Posix(). Each owns one
// descriptor.
#pragma once

#include <memory>
#include <string>

#include "model/io/file.h"

namespace rill {

// A descriptor and its path, for messages.
class Descriptor {
 public:
  Descriptor(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_), path_(std::move(other.path_)) {
    other.fd_ = -1;
  }
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  absl::Status Close();  // once; later calls do nothing

 private:
  int fd_;
  std::string path_;
};

// Opens with O_CLOEXEC, retried after EINTR.
absl::StatusOr<Descriptor> OpenDescriptor(const std::string& path, int flags,
                                          const char* operation);

// Waits until the descriptor's data is on stable storage. Never retried: see WritableFile::Sync.
absl::Status SyncDescriptor(const Descriptor& descriptor);

std::unique_ptr<ReadableFile> MakePosixReadable(Descriptor descriptor, uint64_t size);
std::unique_ptr<WritableFile> MakePosixWritable(Descriptor descriptor);

}  // namespace rill
