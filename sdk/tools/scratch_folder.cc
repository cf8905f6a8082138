#include "sdk/tools/scratch_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace rill::tools {

absl::StatusOr<ScratchFolder> ScratchFolder::Create(const std::string& parent) {
  std::error_code error;
  const std::string place =
      parent.empty() ? std::filesystem::temp_directory_path(error).string() : parent;
  std::string path = place + "/rill-bench-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrCat(place, ": cannot make a folder here: ", std::strerror(errno)));
  }
  return ScratchFolder(std::move(path));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

void DropFromCache(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
#if defined(POSIX_FADV_DONTNEED)
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
  close(fd);
}

}  // namespace rill::tools
