// Going back: from the nearest checkpoint below, through recorded tokens where they reach, through the layers where not.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "sdk/session_impl.h"

namespace rill {

absl::Status Session::Impl::NoGeneration() const {
  if (!generation_open.load()) return absl::OkStatus();
  return absl::FailedPreconditionError("session: a generation is open on it");
}

absl::Status Session::Impl::CheckRewind(uint64_t position) const {
  if (position <= session.length()) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("rewind to ", position, ": the session has ", session.length(), " tokens"));
}

// The logits of a position come from feeding its last token, unless a checkpoint kept them.
RewindCost Session::Impl::CostOf(int64_t position) const {
  RewindCost cost;
  const Rung* here = ladder.Find(position);
  if (position == 0 || position == state->position() || (here != nullptr && here->has_logits)) {
    cost.anchor = static_cast<uint64_t>(position);
    return cost;
  }
  const int64_t last = position - 1;
  if (state->fixed().bytes() == 0) {  // attention alone: the rows are all there is
    cost.anchor = static_cast<uint64_t>(last);
    cost.recomputed = 1;
    return cost;
  }
  const Rung* below = ladder.AtOrBelow(last);
  const int64_t anchor = below == nullptr ? 0 : below->position;
  cost.anchor = static_cast<uint64_t>(anchor);
  const bool recorded = anchor >= FirstRecorded();
  cost.replayed = recorded ? static_cast<uint64_t>(last - anchor) : 0;
  cost.recomputed = static_cast<uint64_t>(position - anchor) - cost.replayed;
  return cost;
}

// The session's own account follows the state's.
void Session::Impl::Stand(uint64_t length) {
  host_logits_fresh = false;
  first_token_due = false;
  session.length_.store(length, std::memory_order_release);
}

absl::Status Session::Impl::Reset() {
  RILL_RETURN_IF_ERROR(NoGeneration());
  RILL_RETURN_IF_ERROR(state->Reset());
  ladder.Clear();
  file_ring = {};
  file_rungs = {};
  stable_prefix = 0;
  parked_generation.clear();
  Stand(0);
  return absl::OkStatus();
}

// From the anchor to the position. The rows in the pages are those of these very tokens, and feeding a token again
// writes the same ones.
absl::Status Session::Impl::Reach(int64_t position, const RewindCost& cost, absl::FunctionRef<bool()> cancel) {
  const int64_t anchor = static_cast<int64_t>(cost.anchor);
  const Rung* rung = ladder.Find(anchor);
  if (rung != nullptr) {
    RILL_RETURN_IF_ERROR(state->GoBack(anchor, rung->state.data()));
    if (rung->has_logits) RILL_RETURN_IF_ERROR(CopyLogitsFrom(rung->state.data()));
  } else if (anchor == 0) {
    RILL_RETURN_IF_ERROR(state->GoBackToStart());
  } else {
    RILL_RETURN_IF_ERROR(state->GoBack(anchor, state->fixed().data()));
  }
  RILL_RETURN_IF_ERROR(forward->Replay(anchor + static_cast<int64_t>(cost.replayed)));
  const int32_t* tokens = ledger.as<int32_t>();
  while (state->position() < position) {
    const int64_t n = std::min(position - state->position(), session.shape_.prefill_chunk);
    const absl::Span<const int32_t> ids(tokens + state->position(), static_cast<size_t>(n));
    PassTaps taps;
    RILL_RETURN_IF_ERROR(PlanTaps(n, &taps));
    RILL_RETURN_IF_ERROR(forward->Prefill(ids, LogitsWanted::kLast, cancel, [](int64_t, absl::Span<const float>) {},
                                          absl::MakeConstSpan(taps.taps.data(), taps.n)));
    KeepTaps(std::move(taps));
    if (cancel()) {
      return absl::CancelledError(absl::StrCat("rewind to ", position, " cancelled at ", state->position()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RewindCost> Session::Impl::Rewind(uint64_t to, const AppendProgress& progress) {
  RILL_RETURN_IF_ERROR(CheckRewind(to));
  RILL_RETURN_IF_ERROR(NoGeneration());
  const int64_t position = static_cast<int64_t>(to);
  const RewindCost cost = CostOf(position);
  if (position == state->position()) return cost;
  stable_prefix = std::min(stable_prefix, to);
  if (position == 0) {
    RILL_RETURN_IF_ERROR(Reset());
    return cost;
  }
  RILL_RETURN_IF_ERROR(CheckFileRung(static_cast<int64_t>(cost.anchor)));
  if (cost.replayed > 0) RILL_RETURN_IF_ERROR(ReadFileRing());
  const int64_t length = state->position();
  const int64_t start = static_cast<int64_t>(cost.anchor + cost.replayed);
  RILL_ASSIGN_OR_RETURN(const Rung present, Capture(RungKind::kSpaced));  // to come back to after an error
  const auto cancel = [&] {
    const int64_t done = std::max<int64_t>(state->position() - start, 0);
    return (progress && progress(static_cast<uint64_t>(done), cost.recomputed)) || gate.cancelled();
  };
  absl::Status status = Reach(position, cost, cancel);
  if (!status.ok()) {
    // Only a lost device can fail here, and then there is nothing to come back to.
    if (state->GoBack(length, present.state.data()).ok()) CopyLogitsFrom(present.state.data()).IgnoreError();
    state->ring().Forget(length);
    file_ring = {};
    return status;
  }
  state->DropPages();
  file_ring.end = std::min(file_ring.end, position);
  ladder.DropAbove(position);
  parked_generation.clear();
  Stand(to);
  return cost;
}

absl::StatusOr<SyncReport> Session::Impl::Sync(absl::Span<const int32_t> ids, const AppendProgress& progress) {
  RILL_RETURN_IF_ERROR(NoGeneration());
  const size_t length = static_cast<size_t>(session.length());
  const absl::Span<const int32_t> held(ledger.as<int32_t>(), length);
  const size_t least = std::min(length, ids.size());
  const size_t common = static_cast<size_t>(
      std::mismatch(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(least), ids.begin()).first - held.begin());
  RILL_RETURN_IF_ERROR(CheckFeed(ids, 0));
  SyncReport report;
  report.common = common;
  report.appended = ids.size() - common;
  if (common < length) report.reason = common == 0 ? SyncReason::kRebuilt : SyncReason::kRewound;
  if (common == length && report.appended > 0) report.reason = SyncReason::kExtended;
  // Two parts, one count.
  const uint64_t recomputed = CostOf(static_cast<int64_t>(common)).recomputed, total = recomputed + report.appended;
  const auto part = [&](uint64_t before) -> AppendProgress {
    if (!progress) return {};
    return [&progress, before, total](uint64_t done, uint64_t) { return progress(before + done, total); };
  };
  RILL_ASSIGN_OR_RETURN(report.rewind, Rewind(common, part(0)));
  RILL_RETURN_IF_ERROR(Append(ids.subspan(common), part(recomputed), {}));
  return report;
}

}  // namespace rill
