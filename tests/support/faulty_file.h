// tests/support/faulty_file.h — another file system that remembers every operation and can be told
// to fail any of them.
//
// The log is made for replay: writes keep their bytes, and every file has a number that stays with
// it through renames, so a test can rebuild what a disk may hold after a power cut at any point.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "model/io/file.h"

namespace rill::test {

enum class FileOp {
  kOpen,  // for reading
  kRead,
  kMap,
  kCreate,
  kUpdate,  // open for writing in place
  kWrite,
  kTruncate,
  kSync,
  kClose,
  kRename,
  kRemove,
  kSyncDirectory,
  kList,
};
std::string_view Name(FileOp op);

// One operation, logged when it is over.
struct LoggedOp {
  FileOp kind;
  std::string path;     // as opened; the folder for kSyncDirectory and kList
  std::string to;       // kRename
  int64_t file = -1;    // the file's number; -1 for folders
  uint64_t offset = 0;  // kRead, kMap, kWrite; the new size for kTruncate
  uint64_t bytes = 0;   // kRead, kMap, kWrite
  std::string data;     // kWrite: what reached the inner file system
  bool failed = false;  // by this wrapper or by the inner file system
};

// What goes wrong. A failed write stores the first half of its bytes, a failed read fills the first
// half of its target (both as a full disk or a shrunk file would), a failed close closes; any other
// failed operation does nothing.
struct Fault {
  int64_t at = -1;  // number of the operation, from 0; -1: none
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  bool forever = false;  // and every later operation too
};

class FaultyFileSystem : public FileSystem {  // Thread-safe.
 public:
  static constexpr const char* kMessage = "failure made by a test";

  explicit FaultyFileSystem(FileSystem& inner, Fault fault = {}) : inner_(inner), fault_(fault) {}

  int64_t operations() const;  // started so far
  int64_t Count(FileOp kind) const;
  std::vector<LoggedOp> Log() const;
  void SetFault(Fault fault);  // `at` counts from the beginning of this object

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    return inner_.FileSize(path);
  }
  bool IsDirectory(const std::string& path) override { return inner_.IsDirectory(path); }

 private:
  friend class FaultyReader;
  friend class FaultyWriter;
  absl::Status Begin();  // counts; not ok when this operation is to fail
  absl::Status End(LoggedOp op, absl::Status status);
  int64_t NumberOf(const std::string& path, bool is_new);

  FileSystem& inner_;
  mutable std::mutex mutex_;
  Fault fault_;
  int64_t started_ = 0;
  int64_t files_ = 0;
  std::map<std::string, int64_t> number_;  // of the file under each path
  std::vector<LoggedOp> log_;
};

}  // namespace rill::test
