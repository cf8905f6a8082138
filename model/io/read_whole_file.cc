#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/file.h"

namespace rill {

absl::StatusOr<std::string> ReadWholeFile(FileSystem& fs, const std::string& path,
                                          uint64_t max_bytes) {
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, fs.OpenForReading(path));
  if (file->size() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": ", file->size(), " bytes, more than the ", max_bytes, " allowed"));
  }
  std::string bytes(static_cast<size_t>(file->size()), '\0');
  RILL_RETURN_IF_ERROR(file->ReadAt(0, bytes.data(), bytes.size()));
  return bytes;
}

}  // namespace rill
