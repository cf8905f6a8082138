// Checkpoints go to files and come back. A whole save takes the ladder as it is. A flush, which may come after every turn,
// takes what is worth its room in a log that is never written over.
#include <algorithm>
#include <utility>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/ops/mla_cache.h"
#include "sdk/session_impl.h"

namespace rill {
namespace {

// Tokens that weigh as much in a file as a checkpoint does.
int64_t Worth(const StateLayout& layout) {
  const uint64_t token = layout.page_bytes / uint64_t{kPageTokens} + sizeof(int32_t);
  return CeilDiv(static_cast<int64_t>(layout.rung_bytes), static_cast<int64_t>(token));
}

}  // namespace

// A flush takes marks, and one checkpoint for so many tokens as weigh as much: followed turn by turn, checkpoints come to no
// more than the session itself. A flush with records is a session's last for a while: it also takes what they are replayed
// from, and where the last turn began, since its own slot takes the place of the one that has that.
std::vector<const Rung*> Session::Impl::RungsToWrite(const AttachedSessionFile* follows, bool with_ring) const {
  const int64_t end = state->position(), worth = Worth(state->layout());
  const int64_t recorded = state->ring().first(end);
  const Rung* border = nullptr;
  for (const Rung& rung : ladder.rungs()) {
    if (rung.kind != RungKind::kSpaced && rung.position < end) border = &rung;
  }
  std::vector<const Rung*> rungs;
  int64_t written = 0;
  for (const Rung& rung : ladder.rungs()) {
    const auto lonely = [&] {
      const uint64_t near = std::min(stable_prefix, static_cast<uint64_t>(rung.position + worth - 1));
      return rung.position - std::max(written, static_cast<int64_t>(follows->RungAtOrBelow(near))) >= worth;
    };
    const bool resting = with_ring && rung.position < end && (rung.position >= recorded || &rung == border);
    if (follows != nullptr && rung.kind != RungKind::kMark && !resting && !lonely()) continue;
    written = rung.position;
    rungs.push_back(&rung);
  }
  return rungs;
}

// Those of the log are never written to at all: host devices use them where they lie.
absl::Status Session::Impl::LoadRung(const SessionFile& file, const RungContent& from, RungKind kind, bool in_place) {
  Device& device = session.model_->device();
  const uint64_t fixed_bytes = file.geometry().fixed_bytes;
  Rung rung;
  rung.position = static_cast<int64_t>(from.position);
  rung.kind = kind;
  rung.tag = from.tag;
  rung.has_logits = !from.logits.empty();
  const auto* row = reinterpret_cast<const std::byte*>(from.logits.data());
  if (in_place && device.is_host() && (!rung.has_logits || row == from.fixed.data() + fixed_bytes)) {
    void* const data = const_cast<std::byte*>(from.fixed.data());
    rung.state = std::move(BlockPool::Adopt({&data, 1}, file.memory())[0]);
  } else {
    RILL_ASSIGN_OR_RETURN(rung.state, ladder.NewBlock());
    RILL_RETURN_IF_ERROR(device.CopyIn(rung.state.data(), from.fixed.data(), fixed_bytes));
    if (rung.has_logits) {
      RILL_RETURN_IF_ERROR(device.CopyIn(static_cast<char*>(rung.state.data()) + fixed_bytes, row, from.logits.size() * 4));
    }
  }
  ladder.Add(std::move(rung));
  return absl::OkStatus();
}

absl::Status Session::Impl::LoadLadder(const SessionFile& file) {
  for (const RungContent& from : file.content().ladder) {
    const auto kind = static_cast<RungKind>(std::min<uint32_t>(from.flags, static_cast<uint32_t>(RungKind::kMark)));
    RILL_RETURN_IF_ERROR(LoadRung(file, from, kind, true));
  }
  return absl::OkStatus();
}

// Where the last turn of a followed file began. The next flush writes over it, hence a copy. A damaged one is left out: that
// costs time in a rewind, never bits.
absl::Status Session::Impl::LoadPrevious(const SessionFile& file, bool lazy) {
  const RungContent* previous = file.previous();
  if (previous == nullptr || (lazy && !file.CheckPrevious().ok())) return absl::OkStatus();
  return LoadRung(file, *previous, RungKind::kBorder, false);
}

}  // namespace rill
