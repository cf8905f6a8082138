#include "sdk/session.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"
#include "sdk/session_impl.h"

namespace rill {

absl::StatusOr<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Model> model,
                                                         const SessionShape& shape, Clock* clock) {
  if (model == nullptr) return absl::InvalidArgumentError("session: no model");
  RILL_RETURN_IF_ERROR(Validate(shape));
  if (model->device().ops().sample == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("device ", model->device().info().name, " lacks the operator sample"));
  }
  std::unique_ptr<Session> session(new Session(std::move(model), shape, clock));
  RILL_RETURN_IF_ERROR(session->impl_->Allocate());
  return session;
}

Session::Session(std::shared_ptr<const Model> model, const SessionShape& shape, Clock* clock)
    : model_(std::move(model)),
      shape_(shape),
      plan_(PlanSession(*model_, shape)),
      impl_(std::make_unique<Impl>(*this, clock)) {}

Session::~Session() = default;

absl::Status Session::Append(absl::Span<const int32_t> ids, const AppendProgress& progress,
                             const LogitsSink& sink) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Finish(impl_->Append(ids, progress, sink));
}

absl::Status Session::Step(int32_t id) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Finish(impl_->Step(id));
}

absl::StatusOr<Session::Sampled> Session::Sample(const SamplingParams& params,
                                                 absl::Span<int32_t> top_ids,
                                                 absl::Span<float> top_logprobs) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  absl::StatusOr<Sampled> sampled = impl_->Sample(params, top_ids, top_logprobs);
  RILL_RETURN_IF_ERROR(impl_->Finish(sampled.status()));
  return sampled;
}

absl::Status Session::Reset() {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Reset();
}

absl::StatusOr<RewindCost> Session::CostOfRewind(uint64_t position) const {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  RILL_RETURN_IF_ERROR(impl_->CheckRewind(position));
  return impl_->CostOf(static_cast<int64_t>(position));
}

absl::StatusOr<RewindCost> Session::Rewind(uint64_t position, const AppendProgress& progress) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  absl::StatusOr<RewindCost> cost = impl_->Rewind(position, progress);
  RILL_RETURN_IF_ERROR(impl_->Finish(cost.status()));
  return cost;
}

absl::Status Session::Mark(uint64_t tag) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Mark(tag);
}

absl::Status Session::Unmark(uint64_t tag) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  impl_->ladder.Unmark(tag);
  return absl::OkStatus();
}

absl::StatusOr<size_t> Session::Checkpoints(absl::Span<uint64_t> out) const {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  const absl::Span<const Rung> rungs = impl_->ladder.rungs();
  for (size_t i = 0; i < std::min(rungs.size(), out.size()); ++i) out[i] = static_cast<uint64_t>(rungs[i].position);
  return rungs.size();
}

absl::StatusOr<SyncReport> Session::Sync(absl::Span<const int32_t> ids, const AppendProgress& progress) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  absl::StatusOr<SyncReport> report = impl_->Sync(ids, progress);
  RILL_RETURN_IF_ERROR(impl_->Finish(report.status()));
  return report;
}

absl::StatusOr<size_t> Session::Tokens(uint64_t from, absl::Span<int32_t> out) const {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  const uint64_t length = this->length();
  if (from >= length) return size_t{0};
  const size_t n = static_cast<size_t>(std::min<uint64_t>(out.size(), length - from));
  std::copy_n(impl_->ledger.as<int32_t>() + from, n, out.begin());
  return n;
}

absl::StatusOr<absl::Span<const float>> Session::Logits() {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Logits();
}

absl::Status Session::Logprobs(absl::Span<const int32_t> ids, absl::Span<float> out,
                               absl::Span<int32_t> top_ids, absl::Span<float> top_logprobs) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->Logprobs(ids, out, top_ids, top_logprobs);
}

void Session::Cancel() { impl_->gate.Cancel(); }

SessionStats Session::stats() const {
  SessionStats stats;
  impl_->counters.Fill(&stats);
  stats.device_bytes = impl_->own_bytes;
  stats.planned_bytes = plan_.total();
  stats.weight_bytes_per_token = model_->weight_traffic().step;
  return stats;
}

}  // namespace rill
