// sdk/tools/scratch_folder.h — a folder for large files that goes away with the object.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace rill::tools {

class ScratchFolder {
 public:
  // A new folder inside `parent`, or where the system keeps temporary files when it is empty.
  // Unavailable names the place and the system's reason.
  static absl::StatusOr<ScratchFolder> Create(const std::string& parent);
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~ScratchFolder();

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Lets the system forget what it keeps of a file in memory, so that the next read comes from the
// disk. A wish: what is mapped or not yet written stays.
void DropFromCache(const std::string& path);

}  // namespace rill::tools
