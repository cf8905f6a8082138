// model/io/atomic_write.h — a file that is old or new, never between.
//
// Writes go to `<path>.tmp.<random>` in the same folder; Commit() syncs, closes, renames and syncs
// the folder. Any error or destruction without Commit removes the temporary file and leaves `path`
// as it was. A failed sync is not retried. Two writers of one path at the same time: the later one
// removes the earlier one's file, whose Commit then fails.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/io/file.h"

namespace rill {

// What is waited for. Old or new, never between, holds after a killed process with each of them and
// after a power cut with the last two.
enum class Durability : uint8_t {
  kNone = 0,  // nothing: a power cut may leave anything
  kData = 1,  // the file's data: after a power cut the old or the new content, either one whole
  kFull = 2,  // and its name: what a call reported as written is there after a power cut
};

class AtomicFile {  // One caller at a time.
 public:
  // Borrows `fs`. Removes temporary files that an earlier, killed writer of the same path left
  // behind.
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(FileSystem& fs,
                                                            const std::string& path);
  ~AtomicFile();

  absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes);
  absl::Status Append(const void* src, size_t bytes);  // at the end of everything written so far
  uint64_t size() const { return size_; }

  // After ok the new content is under `path`, as durable as asked for. After an error `path` holds
  // the old content, with one exception: when syncing the folder is what failed, `path` holds the
  // new content and a power cut may bring the old one back.
  absl::Status Commit(Durability durability = Durability::kFull);

 private:
  AtomicFile(FileSystem& fs, std::string path);
  void Abandon();

  FileSystem& fs_;
  std::string path_, temp_;
  std::unique_ptr<WritableFile> file_;  // null until it was created
  uint64_t size_ = 0;
  bool done_ = false;
};

}  // namespace rill
