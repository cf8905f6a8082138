// tests/support/memory_fs.h — a file system in memory: as exact as a disk, as fast as a test wants.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "model/io/file.h"

namespace rill::test {

// Every folder exists. A file that was removed or replaced lives on for those who hold it open, as
// under POSIX. Thread-safe.
class MemoryFileSystem : public FileSystem {
 public:
  struct Node {
    std::mutex mutex;
    std::string bytes;
  };
  using Tree = std::map<std::string, std::shared_ptr<Node>>;

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForUpdate(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& directory) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override;
  bool IsDirectory(const std::string& path) override;

  // Straight access for tests. Get answers "" for a file that is not there.
  void Put(const std::string& path, std::string bytes);
  std::string Get(const std::string& path) const;
  void Resize(const std::string& path, uint64_t bytes);             // in place
  void Poke(const std::string& path, uint64_t offset, char value);  // in place
  std::vector<std::string> Paths() const;

 private:
  std::shared_ptr<Node> Find(const std::string& path) const;

  mutable std::mutex mutex_;
  Tree tree_;
};

}  // namespace rill::test
