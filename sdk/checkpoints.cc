// The ladder grows: inside prefill passes, at every spacing of a decode, at message borders, and on request.
#include <algorithm>
#include <utility>

#include "kernels/base/status.h"
#include "sdk/session_impl.h"

namespace rill {

absl::Status Session::Impl::CopyLogitsTo(void* rung) const {
  const TensorView logits = forward->logits();
  return session.model_->device().CopyOn(static_cast<char*>(rung) + state->layout().fixed_bytes, logits.data,
                                         static_cast<size_t>(logits.bytes()));
}

absl::Status Session::Impl::CopyLogitsFrom(const void* rung) {
  return forward->SetLogits(static_cast<const char*>(rung) + state->layout().fixed_bytes);
}

// What a replay of the last tokens will start from: the newest positions of the pass that are multiples of the spacing.
absl::Status Session::Impl::PlanTaps(int64_t n_tokens, PassTaps* taps) {
  const int64_t start = state->position(), spacing = ladder.spacing();
  const int64_t last = (start + n_tokens) / spacing * spacing;
  for (int64_t p = last - (Ladder::kRecent - 1) * spacing; p <= last; p += spacing) {
    if (p <= start || ladder.Find(p) != nullptr) continue;
    Rung& rung = taps->rungs[taps->n];
    rung.position = p;
    RILL_ASSIGN_OR_RETURN(rung.state, ladder.NewBlock());
    RILL_RETURN_IF_ERROR(state->ClearGaps(rung.state.data()));
    taps->taps[taps->n++] = {p - start, rung.state.data()};
  }
  return absl::OkStatus();
}

// The pass is committed. A rung that cannot be completed is left out: that costs time in a rewind, never bits.
void Session::Impl::KeepTaps(PassTaps taps) {
  for (size_t i = 0; i < taps.n; ++i) {
    Rung& rung = taps.rungs[i];
    rung.has_logits = rung.position == state->position() && CopyLogitsTo(rung.state.data()).ok();
    ladder.Add(std::move(rung));
  }
}

absl::StatusOr<Rung> Session::Impl::Capture(RungKind kind) {
  Rung rung;
  rung.position = state->position();
  rung.kind = kind;
  RILL_ASSIGN_OR_RETURN(rung.state, ladder.NewBlock());
  const Buffer& fixed = state->fixed();
  if (fixed.bytes() > 0) {
    RILL_RETURN_IF_ERROR(session.model_->device().CopyOn(rung.state.data(), fixed.data(), fixed.bytes()));
  }
  RILL_RETURN_IF_ERROR(CopyLogitsTo(rung.state.data()));
  rung.has_logits = true;
  return rung;
}

// After a decode step, likewise.
void Session::Impl::KeepSpaced() {
  if (state->position() % ladder.spacing() != 0) return;
  absl::StatusOr<Rung> rung = Capture(RungKind::kSpaced);
  if (rung.ok()) ladder.Add(*std::move(rung));
}

// Where an append begins, a message begins: the place an edit goes back to.
absl::Status Session::Impl::KeepBorder() {
  if (state->position() == 0) return absl::OkStatus();
  const Rung* there = ladder.Find(state->position());
  if (there != nullptr && there->has_logits) {
    Rung border = *there;
    border.kind = std::max(there->kind, RungKind::kBorder);
    ladder.Add(std::move(border));
    return absl::OkStatus();
  }
  RILL_ASSIGN_OR_RETURN(Rung border, Capture(RungKind::kBorder));
  ladder.Add(std::move(border));
  return absl::OkStatus();
}

absl::Status Session::Impl::Mark(uint64_t tag) {
  RILL_RETURN_IF_ERROR(NeedLogits());
  RILL_RETURN_IF_ERROR(ladder.CanMark(state->position()));
  RILL_ASSIGN_OR_RETURN(Rung mark, Capture(RungKind::kMark));
  mark.tag = tag;
  ladder.Add(std::move(mark));
  return absl::OkStatus();
}

}  // namespace rill
