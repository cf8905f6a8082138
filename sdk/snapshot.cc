#include "sdk/snapshot.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"
#include "sdk/session_impl.h"

namespace rill {

absl::StatusOr<std::shared_ptr<const Snapshot>> Session::TakeSnapshot() {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->TakeSnapshot();
}

absl::Status Session::Restore(const Snapshot& snapshot) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Restore(snapshot);
}

absl::StatusOr<std::unique_ptr<Session>> Session::Fork() {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Fork();
}

absl::StatusOr<std::shared_ptr<const Snapshot>> Session::Impl::TakeSnapshot() {
  std::shared_ptr<Snapshot> snapshot(new Snapshot());
  snapshot->model_ = session.model_;
  snapshot->mla_dtype_ = session.shape_.mla_dtype;
  if (state->position() == 0) return snapshot;
  // Reserved for the snapshot, so that the session keeps the right to all the blocks it was promised.
  RILL_ASSIGN_OR_RETURN(snapshot->own_rung_, ladder.pool()->Reserve(1));
  RILL_ASSIGN_OR_RETURN(snapshot->own_pages_, state->pool()->Reserve(state->pages().size()));
  RILL_ASSIGN_OR_RETURN(Rung present, Capture(RungKind::kSpaced));
  snapshot->rung_ = std::move(present.state);
  snapshot->pages_.assign(state->pages().begin(), state->pages().end());
  const int32_t* tokens = ledger.as<int32_t>();
  snapshot->tokens_.assign(tokens, tokens + state->position());
  snapshot->generation_ = OpenGeneration();
  RILL_RETURN_IF_ERROR(session.model_->device().Synchronize());
  return snapshot;
}

// What the session had in common with the snapshot's timeline keeps its checkpoints.
absl::Status Session::Impl::Restore(const Snapshot& snapshot) {
  RILL_RETURN_IF_ERROR(NoGeneration());
  if (snapshot.model_ != session.model_) return absl::InvalidArgumentError("restore: the snapshot is of another model");
  if (snapshot.mla_dtype_ != session.shape_.mla_dtype) {
    return absl::InvalidArgumentError(absl::StrCat("restore: the snapshot's cache is ", AbslView(Name(snapshot.mla_dtype_)),
                                                   ", the session's ", AbslView(Name(session.shape_.mla_dtype))));
  }
  if (snapshot.length() > static_cast<uint64_t>(session.shape_.max_tokens)) {
    return absl::ResourceExhaustedError(absl::StrCat("restore: the snapshot has ", snapshot.length(),
                                                     " tokens, the limit is ", session.shape_.max_tokens));
  }
  if (snapshot.length() == 0) return Reset();
  const int32_t* held = ledger.as<int32_t>();
  const size_t least = std::min<size_t>(snapshot.tokens_.size(), static_cast<size_t>(state->position()));
  const auto common = std::mismatch(held, held + least, snapshot.tokens_.begin()).first - held;
  RILL_RETURN_IF_ERROR(Assume(snapshot.tokens_, snapshot.rung_.data(), snapshot.pages_));
  ladder.DropAbove(common);
  stable_prefix = std::min<uint64_t>(stable_prefix, static_cast<uint64_t>(common));
  parked_generation = snapshot.generation_;
  return absl::OkStatus();
}

absl::Status Session::Impl::Assume(absl::Span<const int32_t> tokens, const void* rung, absl::Span<const BlockRef> pages) {
  RILL_RETURN_IF_ERROR(state->Assume(static_cast<int64_t>(tokens.size()), rung, pages));
  file_ring = {};
  RILL_RETURN_IF_ERROR(CopyLogitsFrom(rung));
  std::copy(tokens.begin(), tokens.end(), ledger.as<int32_t>());
  Stand(tokens.size());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Impl::Fork() {
  std::unique_ptr<Session> fork(new Session(session.model_, session.shape_, clock));
  Impl& other = *fork->impl_;
  RILL_RETURN_IF_ERROR(other.Allocate({state->pool(), ladder.pool(), forward->logits_pool()}));
  if (state->position() == 0) return fork;
  // Straight from this session's own memory: a rung in between would cost as much again.
  RILL_RETURN_IF_ERROR(other.state->Assume(state->position(), state->fixed().data(), state->pages()));
  RILL_RETURN_IF_ERROR(other.forward->ShareLogits(*forward));
  std::copy_n(ledger.as<int32_t>(), state->position(), other.ledger.as<int32_t>());
  other.Stand(session.length());
  other.ladder.Share(ladder, state->position());
  other.parked_generation = OpenGeneration();
  RILL_RETURN_IF_ERROR(session.model_->device().Synchronize());
  return fork;
}

}  // namespace rill
