// model/io/file.h — the seam between Rill and storage. Every failure test is a FileSystem that
// misbehaves.
//
// Paths are UTF-8. Offsets are 64-bit. Errors: NotFound, AlreadyExists, PermissionDenied,
// ResourceExhausted (disk full, quota), DataLoss (short read: fewer bytes than the file promised),
// Unavailable (any other I/O error); the message names the path, the operation and the system's
// reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rill {

// A read-only, private mapping of a file range. Unmaps on destruction. Thread-safe.
class MappedRegion {
 public:
  virtual ~MappedRegion() = default;
  virtual const std::byte* data() const = 0;
  virtual uint64_t size() const = 0;
  // Asks the system to bring the range in ahead of use; a hint, never an error.
  virtual void WillNeed(uint64_t offset, uint64_t bytes) const = 0;
};

class ReadableFile {  // Thread-safe.
 public:
  virtual ~ReadableFile() = default;
  virtual uint64_t size() const = 0;  // when it was opened
  // Reads exactly `bytes` at `offset` or fails; short reads and EINTR are retried inside.
  virtual absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const = 0;
  // Maps [offset, offset + bytes); offset is a multiple of 16 KiB. Unimplemented where there is no
  // mmap.
  virtual absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                            uint64_t bytes) const = 0;
};

class WritableFile {  // One caller at a time.
 public:
  virtual ~WritableFile() = default;  // closes, ignoring errors; call Close() to hear of them
  // Writes all bytes at `offset` or fails; the file grows as needed.
  virtual absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  // The data is on stable storage when this returns ok. After a failure the file's content is
  // unknown: it must be abandoned, never synced again (a second fsync may succeed although pages
  // were dropped).
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
};

class FileSystem {  // Thread-safe.
 public:
  virtual ~FileSystem() = default;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) = 0;
  // Creates a new file, mode 0600; AlreadyExists if the name is taken.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) = 0;
  // Opens an existing file for writing in place; its content stays.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;  // replaces `to` atomically
  virtual absl::Status Remove(const std::string& path) = 0;
  // Makes creations, renames and removals in `directory` durable.
  virtual absl::Status SyncDirectory(const std::string& directory) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) = 0;  // names, unsorted
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;
  virtual bool IsDirectory(const std::string& path) = 0;

  // The operating system's files. Never destroyed.
  static FileSystem* Posix();
};

// Path helpers that do not touch the disk.
std::string JoinPath(std::string_view directory, std::string_view name);
std::string DirectoryOf(std::string_view path);  // "." when there is none

// The whole of a small file; ResourceExhausted when it is larger than `max_bytes`, naming both.
absl::StatusOr<std::string> ReadWholeFile(FileSystem& fs, const std::string& path,
                                          uint64_t max_bytes);

}  // namespace rill
