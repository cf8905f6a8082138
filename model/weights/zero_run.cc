#include "model/weights/zero_run.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"

namespace rill {

absl::Status CheckZeros(const ReadableFile& file, uint64_t begin, uint64_t end) {
  unsigned char buffer[4096];
  while (begin < end) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(end - begin, sizeof buffer));
    RILL_RETURN_IF_ERROR(file.ReadAt(begin, buffer, n));
    const auto* found =
        std::find_if(buffer, buffer + n, [](unsigned char byte) { return byte != 0; });
    if (found != buffer + n) {
      return absl::DataLossError(absl::StrCat("padding at ", begin + (found - buffer), " holds ",
                                              int{*found}, ", expected 0"));
    }
    begin += n;
  }
  return absl::OkStatus();
}

}  // namespace rill
