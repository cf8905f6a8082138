#define _FILE_OFFSET_BITS 64

#include "model/io/posix_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/io/posix_error.h"

namespace rill {
namespace {

static_assert(sizeof(off_t) == 8, "model files are larger than 2 GiB");

constexpr uint64_t kMapAlignment = 16384;  // the largest memory page of the platforms we run on
constexpr size_t kMaxTransfer = size_t{1} << 30;  // Linux moves at most 2 GiB a call

class PosixMapping final : public MappedRegion {
 public:
  PosixMapping(void* data, uint64_t size) : data_(data), size_(size) {}
  ~PosixMapping() override { munmap(data_, static_cast<size_t>(size_)); }

  const std::byte* data() const override { return static_cast<const std::byte*>(data_); }
  uint64_t size() const override { return size_; }

  void WillNeed(uint64_t offset, uint64_t bytes) const override {
    if (offset >= size_) return;
    const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t begin = offset / page * page;
    const uint64_t length = std::min(bytes, size_ - offset) + (offset - begin);
    madvise(static_cast<char*>(data_) + begin, static_cast<size_t>(length), MADV_WILLNEED);
  }

 private:
  void* data_;
  uint64_t size_;
};

class PosixReadable final : public ReadableFile {
 public:
  PosixReadable(Descriptor descriptor, uint64_t size)
      : descriptor_(std::move(descriptor)), size_(size) {}

  uint64_t size() const override { return size_; }

  absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
    char* out = static_cast<char*>(dst);
    for (size_t done = 0; done < bytes;) {
      const size_t part = std::min(bytes - done, kMaxTransfer);
      const ssize_t n =
          pread(descriptor_.fd(), out + done, part, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return PosixError(descriptor_.path(), "read", errno);
      if (n == 0) {
        return absl::DataLossError(absl::StrCat(descriptor_.path(), ": read: the file ends at ",
                                                offset + done, ", ", bytes, " bytes at ", offset,
                                                " were asked for"));
      }
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                    uint64_t bytes) const override {
    if (offset % kMapAlignment != 0 || bytes == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(descriptor_.path(), ": map: ", bytes, " bytes at ", offset,
                       ", expected at least one at a multiple of ", kMapAlignment));
    }
    struct stat now;  // touching a page past the end would be a signal, not an error
    if (fstat(descriptor_.fd(), &now) != 0) return PosixError(descriptor_.path(), "stat", errno);
    const auto end = CheckedAdd(offset, bytes);
    if (!end || *end > static_cast<uint64_t>(now.st_size)) {
      return absl::DataLossError(absl::StrCat(descriptor_.path(), ": map: ", bytes, " bytes at ",
                                              offset, " were asked for, the file has ",
                                              now.st_size));
    }
    void* data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_PRIVATE, descriptor_.fd(),
                      static_cast<off_t>(offset));
    if (data == MAP_FAILED) return PosixError(descriptor_.path(), "map", errno);
    return std::make_unique<PosixMapping>(data, bytes);
  }

 private:
  Descriptor descriptor_;
  uint64_t size_;
};

class PosixWritable final : public WritableFile {
 public:
  explicit PosixWritable(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) override {
    const char* in = static_cast<const char*>(src);
    for (size_t done = 0; done < bytes;) {
      const size_t part = std::min(bytes - done, kMaxTransfer);
      const ssize_t n =
          pwrite(descriptor_.fd(), in + done, part, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return PosixError(descriptor_.path(), "write", errno);
      if (n == 0)
        return PosixError(descriptor_.path(), "write", ENOSPC);  // no progress and no reason given
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    while (ftruncate(descriptor_.fd(), static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) return PosixError(descriptor_.path(), "truncate", errno);
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override { return SyncDescriptor(descriptor_); }
  absl::Status Close() override { return descriptor_.Close(); }

 private:
  Descriptor descriptor_;
};

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

absl::Status Descriptor::Close() {
  if (fd_ < 0) return absl::OkStatus();
  const int result = close(
      std::exchange(fd_, -1));  // gone even after an error: a second close could hit another file
  return result == 0 ? absl::OkStatus() : PosixError(path_, "close", errno);
}

absl::StatusOr<Descriptor> OpenDescriptor(const std::string& path, int flags,
                                          const char* operation) {
  int fd;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return PosixError(path, operation, errno);
  return Descriptor(fd, path);
}

absl::Status SyncDescriptor(const Descriptor& descriptor) {
#if defined(F_FULLFSYNC)  // Apple's fsync leaves the data in the drive's own cache
  const int result = fcntl(descriptor.fd(), F_FULLFSYNC);
#else
  const int result = fsync(descriptor.fd());
#endif
  return result < 0 ? PosixError(descriptor.path(), "sync", errno) : absl::OkStatus();
}

std::unique_ptr<ReadableFile> MakePosixReadable(Descriptor descriptor, uint64_t size) {
  return std::make_unique<PosixReadable>(std::move(descriptor), size);
}

std::unique_ptr<WritableFile> MakePosixWritable(Descriptor descriptor) {
  return std::make_unique<PosixWritable>(std::move(descriptor));
}

}  // namespace rill
