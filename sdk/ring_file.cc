// The replay ring of a loaded session stays in the file until a rewind wants it: it is as big as several states, and most
// sessions that are loaded only go on.
#include <algorithm>
#include <cstring>

#include "kernels/base/status.h"
#include "sdk/session_impl.h"

namespace rill {

// Tokens of the file count as long as their slots were not written over.
int64_t Session::Impl::FirstRecorded() const {
  const int64_t position = state->position(), own = state->ring().first(position);
  if (file_ring.file == nullptr || own > file_ring.end) return own;
  return std::max(file_ring.first, position - state->ring().slots());
}

// Before a rewind starts from it. A damaged one is taken out of the ladder, and DataLoss says where.
absl::Status Session::Impl::CheckFileRung(int64_t position) {
  for (size_t i = 0; i < file_rungs.unchecked.size(); ++i) {
    if (file_rungs.unchecked[i] != position) continue;
    file_rungs.unchecked[i] = -1;
    const absl::Status status = file_rungs.file->CheckRung(i);
    if (!status.ok()) ladder.Drop(position);
    return status;
  }
  return absl::OkStatus();
}

// Copies the records that still count to their places. Damaged ones are given up, and DataLoss says where: the rewind does
// not happen, and the next one runs the layers instead.
absl::Status Session::Impl::ReadFileRing() {
  if (file_ring.file == nullptr) return absl::OkStatus();
  const FileRing source = std::exchange(file_ring, {});
  ReplayRing& ring = state->ring();
  const int64_t first = std::max(source.first, state->position() - ring.slots());
  if (ring.first(state->position()) > source.end || first >= source.end) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(source.file->CheckRing());
  const absl::Span<const std::byte> bytes = source.file->content().ring.bytes;
  Device& device = session.model_->device();
  const uint64_t row = ring.row_bytes(), plane = row * static_cast<uint64_t>(ring.slots());
  for (uint64_t at = 0; at < bytes.size(); at += plane) {
    for (int64_t t = first; t < source.end; ++t) {
      const uint64_t offset = at + row * static_cast<uint64_t>(t % ring.slots());
      RILL_RETURN_IF_ERROR(device.CopyIn(ring.buffer().as<char>() + offset, bytes.data() + offset, row));
    }
  }
  ring.Extend(first);
  return absl::OkStatus();
}

}  // namespace rill
