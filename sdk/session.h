// sdk/session.h — one timeline of tokens: the only mutable thing in Rill.
//
// One caller at a time: a second call while one runs answers Aborted ("busy"), a call from inside a callback of this
// session answers FailedPrecondition ("re-entrant"). Cancel(), stats() and length() may come from any thread.
// Atomic calls: after any error the session stands at its last committed token, with the logits of that token. Append
// commits pass by pass (a pass is prefill_chunk tokens), so a cancelled append keeps whole passes. A cancellation that
// comes while a call runs is never lost: where it came too late to stop the work, the work is kept and the call answers
// Cancelled all the same. length() says how far it got.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/base/clock.h"
#include "model/graph/plan.h"
#include "model/model.h"
#include "sdk/sampling.h"
#include "sdk/stats.h"

namespace rill {

// Called after every pass, and between layers of a long one, on the calling thread. Returning true cancels.
using AppendProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Receives the logits of every appended token in order, [vocab] f32 each, valid during the call only. Those of a pass
// come before the pass is committed.
using LogitsSink = std::function<void(uint64_t position, absl::Span<const float> logits)>;

// The price of going back to a position: the checkpoint it starts from, then tokens replayed from their records (the
// recurrence alone) and tokens fed again through all layers. The three add up to the position.
struct RewindCost {
  uint64_t anchor = 0, replayed = 0, recomputed = 0;
};

enum class SyncReason : uint8_t {
  kSame = 0,        // the session held exactly these tokens
  kExtended = 1,    // it held a beginning of them
  kRewound = 2,     // it held a common beginning and then others, which were taken back
  kRebuilt = 3,     // nothing in common
};

// What Sync did. anchor + replayed + recomputed = common, and common + appended = the tokens asked for.
struct SyncReport {
  uint64_t common = 0;   // tokens of the session that stay
  RewindCost rewind;     // how the session came to stand there; nothing but an anchor when it stood there already
  uint64_t appended = 0;
  SyncReason reason = SyncReason::kSame;
};

class Snapshot;

class Session {
 public:
  // Allocates everything the plan names. ResourceExhausted with both numbers; Unimplemented names a missing operator.
  // Unavailable when the device is lost. Borrows `clock`.
  static absl::StatusOr<std::unique_ptr<Session>> Create(std::shared_ptr<const Model> model, const SessionShape& shape,
                                                         Clock* clock = Clock::Steady());
  ~Session();

  // Feeds tokens (prefill). InvalidArgument: an id outside the vocabulary (index and both numbers; nothing is fed).
  // ResourceExhausted: would pass max_tokens (nothing is fed). Cancelled: see above. Logits of every token go to
  // `sink` when it is given (then the head runs for every token).
  absl::Status Append(absl::Span<const int32_t> ids, const AppendProgress& progress = {}, const LogitsSink& sink = {});

  // Feeds one token (decode). Errors as Append; after Cancelled, length() says whether the token was fed.
  absl::Status Step(int32_t id);

  // Draws the next token from the logits and feeds nothing. FailedPrecondition when there are no logits yet;
  // InvalidArgument as Validate(params) says, or when no logit is finite. The `top_ids.size()` likeliest tokens go to
  // top_ids and top_logprobs, which are of one length, at most the vocabulary.
  struct Sampled {
    int32_t id;
    float logprob;      // of the model itself: log softmax of the raw logits
  };
  absl::StatusOr<Sampled> Sample(const SamplingParams& params, absl::Span<int32_t> top_ids = {},
                                 absl::Span<float> top_logprobs = {});

  // Back to an empty timeline; keeps all memory. FailedPrecondition while a generation is open, as every call below that
  // moves the timeline other than forward.
  absl::Status Reset();

  // Back to any earlier position, with the state and the logits the session had there, bit for bit on host devices. The
  // price is known beforehand: see RewindCost. OutOfRange: beyond the length. Cancelled or any other error: the session
  // is where it was. `progress` counts recomputed tokens.
  absl::StatusOr<RewindCost> CostOfRewind(uint64_t position) const;
  absl::StatusOr<RewindCost> Rewind(uint64_t position, const AppendProgress& progress = {});

  // Keeps a checkpoint of this position until Unmark(tag), Reset, or a rewind below it. ResourceExhausted with both
  // numbers when the ladder's marks are used up; FailedPrecondition in an empty session.
  absl::Status Mark(uint64_t tag);
  absl::Status Unmark(uint64_t tag);
  // Positions of the ladder's checkpoints, ascending; how many there are.
  absl::StatusOr<size_t> Checkpoints(absl::Span<uint64_t> out) const;

  // Makes the timeline these tokens: keeps what is in common, takes back what is not, appends the rest. For clients that
  // send the whole conversation every time. Nothing is changed on InvalidArgument (a bad id) and ResourceExhausted (more
  // than max_tokens); on Cancelled the session holds a beginning of `ids`.
  absl::StatusOr<SyncReport> Sync(absl::Span<const int32_t> ids, const AppendProgress& progress = {});

  // The timeline as it is, to come back to: costs one copy of the constant-size part; MLA pages are shared, copy on
  // write. An open generation is part of it (see Generation::Resume). ResourceExhausted with both numbers.
  absl::StatusOr<std::shared_ptr<const Snapshot>> TakeSnapshot();
  // The session becomes the snapshot's timeline. InvalidArgument: of another model or cache type. ResourceExhausted: longer
  // than max_tokens. The session is as before after an error.
  absl::Status Restore(const Snapshot& snapshot);
  // A second session that stands where this one stands, at the price of a copy of the constant-size part, whatever the
  // length. Each goes its own way; either may be closed first.
  absl::StatusOr<std::unique_ptr<Session>> Fork();

  uint64_t length() const { return length_.load(std::memory_order_acquire); }
  // Ids [from, from + out.size()) of the timeline, clamped to its end; returns how many were written. Aborted and
  // FailedPrecondition as any call.
  absl::StatusOr<size_t> Tokens(uint64_t from, absl::Span<int32_t> out) const;
  // After the last token, [vocab] f32 in host memory, valid until the next call that changes the session; empty when
  // nothing was fed. Copies from the device on the first call after a step.
  absl::StatusOr<absl::Span<const float>> Logits();
  // log softmax of those logits at `ids`, and the `top` largest in descending order.
  absl::Status Logprobs(absl::Span<const int32_t> ids, absl::Span<float> out, absl::Span<int32_t> top_ids,
                        absl::Span<float> top_logprobs);

  // Any thread, and from inside a callback. The running call ends with Cancelled within one layer of a prefill or one
  // step; later ones are not affected, and when none runs it does nothing. While a generation is open it is the reply
  // that is cancelled: whoever does so cannot know whether its thread is inside Next() at that instant, so a Cancel
  // between two calls ends the next Append, Step, Sample or Next.
  void Cancel();

  SessionStats stats() const;
  const Model& model() const { return *model_; }
  const SessionShape& shape() const { return shape_; }
  const SessionPlan& plan() const { return plan_; }

 private:
  friend class Generation;
  friend class Snapshot;
  struct Impl;
  Session(std::shared_ptr<const Model> model, const SessionShape& shape, Clock* clock);
  std::shared_ptr<const Model> model_;
  SessionShape shape_;
  SessionPlan plan_;
  std::atomic<uint64_t> length_{0};
  std::unique_ptr<Impl> impl_;
};

}  // namespace rill
