#include "sdk/session_impl.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/ops/sample.h"

namespace rill {
namespace {

void Raise(std::atomic<uint64_t>& counter, uint64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

void Raise(std::atomic<int64_t>& counter, int64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace

absl::Status Session::Impl::Allocate(const Pools& pools) {
  Device& device = session.model_->device();
  const ModelConfig& config = session.model_->config();
  const SessionShape& shape = session.shape_;
  RILL_ASSIGN_OR_RETURN(state, SequenceState::Create(device, config, shape, pools.pages));
  RILL_ASSIGN_OR_RETURN(forward, Forward::Create(session.model_, *state, shape, pools.logits));
  RILL_ASSIGN_OR_RETURN(
      ledger, HostBlock::Allocate(device, static_cast<size_t>(shape.max_tokens) * sizeof(int32_t)));
  RILL_ASSIGN_OR_RETURN(sample_scratch,
                        HostBlock::Allocate(device, SampleWorkspaceBytes(config.vocab_size)));
  RILL_ASSIGN_OR_RETURN(
      ladder, Ladder::Create(pools.rungs != nullptr ? pools.rungs : BlockPool::Create(device, state->layout().rung_bytes), shape));
  own_bytes = state->allocated_bytes() + forward->allocated_bytes() + ladder.bytes();
  if (device.is_host()) own_bytes += ledger.bytes() + sample_scratch.bytes();
  return absl::OkStatus();
}

absl::Status Session::Impl::Finish(absl::Status status) {
  if (status.ok() && gate.cancelled()) status = absl::CancelledError("session: call cancelled");
  if (!absl::IsCancelled(status)) return status;
  gate.Answered();
  Raise(counters.cancelled_calls, 1);
  return status;
}

absl::Status Session::Impl::CheckFeed(absl::Span<const int32_t> ids, uint64_t length) const {
  const uint64_t limit = static_cast<uint64_t>(session.shape_.max_tokens);
  if (ids.size() > limit - length) {
    return absl::ResourceExhaustedError(absl::StrCat("context full: ", length, " tokens and ",
                                                     ids.size(), " more, the limit is ", limit));
  }
  const int64_t vocab = session.model_->config().vocab_size;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("token ", i, ": id ", ids[i], ", the vocabulary has ", vocab));
  }
  return absl::OkStatus();
}

absl::Status Session::Impl::Append(absl::Span<const int32_t> ids, const AppendProgress& progress,
                                   const LogitsSink& sink) {
  RILL_RETURN_IF_ERROR(CheckFeed(ids, session.length()));
  if (ids.empty()) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(KeepBorder());
  const size_t chunk = static_cast<size_t>(session.shape_.prefill_chunk);
  int64_t then = append_started = clock->NowNanos();
  first_token_due = true;
  size_t done = 0;
  const auto cancel = [&] { return (progress && progress(done, ids.size())) || gate.cancelled(); };
  while (done < ids.size()) {
    const absl::Span<const int32_t> pass = ids.subspan(done, chunk);
    RILL_RETURN_IF_ERROR(FeedPass(pass, cancel, sink));
    done += pass.size();
    const int64_t now = clock->NowNanos();
    Raise(counters.prefill_tokens, pass.size());
    Raise(counters.prefill_nanos, now - then);
    then = now;
    if (cancel()) {
      return absl::CancelledError(
          absl::StrCat("append cancelled after ", done, " of ", ids.size(), " tokens"));
    }
  }
  return absl::OkStatus();
}

// Every pass ends with logits, so that an append cancelled after it can be sampled from.
absl::Status Session::Impl::FeedPass(absl::Span<const int32_t> ids,
                                     absl::FunctionRef<bool()> cancel, const LogitsSink& sink) {
  const uint64_t first = session.length();
  const auto deliver = [&](int64_t row, absl::Span<const float> logits) {
    sink(first + static_cast<uint64_t>(row), logits);
  };
  PassTaps taps;
  RILL_RETURN_IF_ERROR(PlanTaps(static_cast<int64_t>(ids.size()), &taps));
  RILL_RETURN_IF_ERROR(forward->Prefill(ids, sink ? LogitsWanted::kAll : LogitsWanted::kLast, cancel, deliver,
                                        absl::MakeConstSpan(taps.taps.data(), taps.n)));
  Commit(ids);
  KeepTaps(std::move(taps));
  return absl::OkStatus();
}

// Ledger first: whoever sees the new length may read up to it.
void Session::Impl::Commit(absl::Span<const int32_t> ids) {
  parked_generation.clear();
  const uint64_t length = session.length();
  std::copy(ids.begin(), ids.end(), ledger.as<int32_t>() + length);
  host_logits_fresh = false;
  session.length_.store(length + ids.size(), std::memory_order_release);
}

absl::Status Session::Impl::Step(int32_t id) {
  RILL_RETURN_IF_ERROR(CheckFeed({&id, 1}, session.length()));
  if (gate.cancelled()) return absl::CancelledError("step cancelled before it began");
  const int64_t start = clock->NowNanos();
  RILL_RETURN_IF_ERROR(forward->Step(id));
  Commit({&id, 1});
  KeepSpaced();
  Raise(counters.decode_tokens, 1);
  Raise(counters.decode_nanos, clock->NowNanos() - start);
  return absl::OkStatus();
}

absl::Status Session::Impl::NeedLogits() const {
  if (session.length() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError("session: no logits, 0 tokens fed");
}

SampleArgs Session::Impl::ArgsForLogits() {
  SampleArgs args;
  args.position = session.length();
  args.logits = F32View(forward->logits().f32(), session.model_->config().vocab_size);
  args.workspace = sample_scratch.view();
  return args;
}

// Ascending ids, each once: the order does not matter to the result, but it is always the same.
absl::Span<const TokenCount> Session::Impl::CountWindow(const SamplingParams& params) {
  if (!NeedsWindow(params)) return {};
  const uint64_t length = session.length();
  const size_t n = static_cast<size_t>(std::min<uint64_t>(params.penalty_window, length));
  std::copy_n(ledger.as<int32_t>() + (length - n), n, window_ids.begin());
  std::sort(window_ids.begin(), window_ids.begin() + static_cast<std::ptrdiff_t>(n));
  size_t distinct = 0;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0 || window_ids[i] != window_ids[i - 1])
      window_counts[distinct++] = {window_ids[i], 0};
    ++window_counts[distinct - 1].count;
  }
  return {window_counts.data(), distinct};
}

absl::StatusOr<Session::Sampled> Session::Impl::Sample(const SamplingParams& params,
                                                       absl::Span<int32_t> top_ids,
                                                       absl::Span<float> top_logprobs) {
  RILL_RETURN_IF_ERROR(NeedLogits());
  RILL_RETURN_IF_ERROR(Validate(params, session.model_->config().vocab_size));
  const int64_t start = clock->NowNanos();
  Sampled sampled{-1, 0};
  SampleArgs args = ArgsForLogits();
  args.temperature = params.temperature;
  args.top_k = params.top_k;
  args.top_p = params.top_p;
  args.min_p = params.min_p;
  args.repeat_penalty = params.repeat_penalty;
  args.frequency_penalty = params.frequency_penalty;
  args.presence_penalty = params.presence_penalty;
  args.window = CountWindow(params);
  args.bias = params.bias;
  args.seed = params.seed;
  args.token = &sampled.id;
  args.logprob = &sampled.logprob;
  args.top_ids = top_ids;
  args.top_logprobs = top_logprobs;
  Device& device = session.model_->device();
  RILL_RETURN_IF_ERROR(device.ops().sample(device, args));
  RILL_RETURN_IF_ERROR(device.Synchronize());
  const int64_t now = clock->NowNanos();
  Raise(counters.sampled_tokens, 1);
  Raise(counters.decode_nanos, now - start);
  if (first_token_due)
    counters.last_ttft_nanos.store(now - append_started, std::memory_order_relaxed);
  first_token_due = false;
  return sampled;
}

absl::StatusOr<absl::Span<const float>> Session::Impl::Logits() {
  if (session.length() == 0) return absl::Span<const float>();
  const absl::Span<float> host = forward->host_logits();
  Device& device = session.model_->device();
  if (!host_logits_fresh && !device.is_host()) {  // a host's are the logits themselves
    RILL_RETURN_IF_ERROR(
        device.CopyOut(host.data(), forward->logits().data, host.size() * sizeof(float)));
  }
  host_logits_fresh = true;
  return absl::Span<const float>(host);
}

// Through the sampling operator, so that these are the numbers that Sample reports. Of the greedy
// token, the largest logit, the log-probability is minus the log of the sum.
absl::Status Session::Impl::Logprobs(absl::Span<const int32_t> ids, absl::Span<float> out,
                                     absl::Span<int32_t> top_ids, absl::Span<float> top_logprobs) {
  RILL_RETURN_IF_ERROR(NeedLogits());
  if (out.size() != ids.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("logprobs: ", out.size(), " places for ", ids.size(), " ids"));
  }
  const int64_t vocab = session.model_->config().vocab_size;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("logprobs: id ", ids[i], " at ", i, ", the vocabulary has ", vocab));
  }
  int32_t best = -1;
  float best_logprob = 0;
  SampleArgs args = ArgsForLogits();
  args.token = &best;
  args.logprob = &best_logprob;
  args.top_ids = top_ids;
  args.top_logprobs = top_logprobs;
  Device& device = session.model_->device();
  RILL_RETURN_IF_ERROR(device.ops().sample(device, args));
  RILL_RETURN_IF_ERROR(device.Synchronize());
  RILL_ASSIGN_OR_RETURN(const absl::Span<const float> logits, Logits());
  const float max = logits[best];
  for (size_t i = 0; i < ids.size(); ++i) {
    const float l = logits[ids[i]];
    out[i] = (l == max ? 0.0f : l - max) + best_logprob;
  }
  return absl::OkStatus();
}

}  // namespace rill
