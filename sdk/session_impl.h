// sdk/session_impl.h — the inside of a Session, for the files of this folder. Nothing here looks at
// the gate: callers have entered it.
#pragma once

#include <array>
#include <memory>

#include "absl/functional/function_ref.h"
#include "model/graph/forward.h"
#include "model/graph/state.h"
#include "sdk/call_gate.h"
#include "sdk/counters.h"
#include "sdk/host_block.h"
#include "sdk/session.h"

namespace rill {

struct Session::Impl {
  Impl(Session& owner, Clock* time) : session(owner), clock(time) {}

  absl::Status Allocate();

  // Checks that nothing is fed in part because of what could be known before.
  absl::Status CheckFeed(absl::Span<const int32_t> ids) const;
  absl::Status Append(absl::Span<const int32_t> ids, const AppendProgress& progress,
                      const LogitsSink& sink);
  absl::Status Step(int32_t id);
  absl::StatusOr<Sampled> Sample(const SamplingParams& params, absl::Span<int32_t> top_ids,
                                 absl::Span<float> top_logprobs);
  absl::StatusOr<absl::Span<const float>> Logits();
  absl::Status Logprobs(absl::Span<const int32_t> ids, absl::Span<float> out,
                        absl::Span<int32_t> top_ids, absl::Span<float> top_logprobs);

  // A cancellation that came while the call ran makes it answer so, whatever it got done.
  absl::Status Finish(absl::Status status);

  absl::Status FeedPass(absl::Span<const int32_t> ids, absl::FunctionRef<bool()> cancel,
                        const LogitsSink& sink);
  void Commit(absl::Span<const int32_t> ids);
  absl::Span<const TokenCount> CountWindow(const SamplingParams& params);
  absl::Status NeedLogits() const;
  SampleArgs ArgsForLogits();

  Session& session;
  Clock* clock;
  CallGate gate;
  Counters counters;
  std::unique_ptr<SequenceState> state;
  std::unique_ptr<Forward> forward;
  HostBlock ledger;          // [max_tokens] i32
  HostBlock sample_scratch;  // of the operator
  uint64_t own_bytes = 0;    // on the device
  uint64_t weight_bytes_per_token = 0;

  int64_t append_started = 0;
  bool first_token_due = false;  // an append waits for the token after it
  bool host_logits_fresh = false;
  std::atomic<bool> generation_open{false};

  // The window, sorted, then counted. Members so that a token allocates nothing.
  std::array<int32_t, kMaxPenaltyWindow> window_ids;
  std::array<TokenCount, kMaxPenaltyWindow> window_counts;
};

}  // namespace rill
