#include "sdk/session_file/output.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "model/io/crc32c.h"

namespace rill::session_file {
namespace {

constexpr size_t kZeroBytes = size_t{1} << 16;
const std::byte kZeros[kZeroBytes] = {};

}  // namespace

absl::Status Output::Write(uint64_t offset, const void* data, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  written_ += bytes;
  return Put(offset, data, bytes);
}

absl::Status SinkOutput::Put(uint64_t offset, const void* data, size_t bytes) {
  while (at_ < offset) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(offset - at_, kZeroBytes));
    RILL_RETURN_IF_ERROR(sink_(absl::MakeConstSpan(kZeros, n)));
    at_ += n;
  }
  at_ += bytes;
  return sink_(absl::MakeConstSpan(static_cast<const std::byte*>(data), bytes));
}

absl::Status WatchedOutput::Put(uint64_t offset, const void* data, size_t bytes) {
  if (progress_ && progress_(done_, total_)) return absl::CancelledError("the save was cancelled");
  done_ = std::min(total_, done_ + bytes);
  return inner_.Write(offset, data, bytes);
}

absl::Status WriteZeros(Output& out, uint64_t offset, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes - done, kZeroBytes));
    RILL_RETURN_IF_ERROR(out.Write(offset + done, kZeros, n));
    done += n;
  }
  return absl::OkStatus();
}

uint32_t CrcOfZeros(uint64_t bytes, uint32_t crc) {
  for (uint64_t done = 0; done < bytes;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes - done, kZeroBytes));
    crc = Crc32c(kZeros, n, crc);
    done += n;
  }
  return crc;
}

}  // namespace rill::session_file
