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
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/base/clock.h"
#include "model/graph/plan.h"
#include "model/model.h"
#include "model/io/file.h"
#include "sdk/sampling.h"
#include "sdk/session_file/save.h"
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

// ---- session files (sdk/persist.cc; the format is docs/FORMATS.md) ---------------------------------------------------

struct SaveParams {
  Durability durability = Durability::kFull;
  bool ladder = true;        // the checkpoints: as much again as the state, each
  bool ring = true;          // the records of the last tokens
  AppendProgress progress;   // bytes; true cancels
};
using SaveReport = WriteReport;

struct LoadParams {
  int64_t max_tokens = 0;       // these four: 0 (window: -1) takes what the saved session had
  int64_t prefill_chunk = 0;
  int64_t rewind_window = -1;
  int64_t ladder_slots = 0;
  // Every byte of the file is checked before the session is there. Lazy: the constant part, tokens and texts are;
  // checkpoints and records when a rewind wants them; pages are taken as the disk gives them.
  bool lazy = false;
  bool any_numerics = false;    // also from another device: then bits are not promised, only the model
  bool attach = false;          // go on appending to this file, as after Attach
  AppendProgress progress;      // bytes of the check
};

struct LoadReport {
  uint64_t generation = 0;      // of the file: how often it was written to
  uint64_t tokens = 0;
  uint64_t checkpoints = 0;     // rungs of the ladder that came with it
  uint64_t recorded = 0;        // last tokens that a rewind can replay
  bool mapped = false;          // pages are the file's own, read when they are needed
  bool reply_open = false;      // Generation::Resume goes on with it
  bool unfinished_flush = false;  // the last flush did not come to its end: this is the session before it
};

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
  // than max_tokens). Cancelled while it goes back: the session is where it was, also where that is no beginning of `ids`.
  // Cancelled while it appends: it holds a beginning of `ids`, the common part at least.
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

  // Writes the whole session to a new file that replaces `path` in one step: whatever happens, the path holds the old
  // content or the new, and the session is as before. An open reply is saved with it. Errors of the file system by their
  // own codes; Cancelled.
  absl::StatusOr<SaveReport> Save(FileSystem& fs, const std::string& path, const SaveParams& params = {});
  // The same bytes to a callback.
  absl::StatusOr<SaveReport> Write(ByteSink sink, const SaveParams& params = {});
  // A new session that stands where the saved one stood, ready to sample without a forward pass. NotFound; DataLoss
  // (damaged: section, offset, both checksums; truncated: both lengths); InvalidArgument (no session file, or a
  // parameter); FailedPrecondition: another version, or a mismatch of model, tokenizer, weights, quantization, layout or
  // numerics, named (MismatchedField in sdk/session_file/content.h); OutOfRange: more tokens than max_tokens; ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<Session>> Load(std::shared_ptr<const Model> model, FileSystem& fs,
                                                       const std::string& path, const LoadParams& params = {},
                                                       LoadReport* report = nullptr, Clock* clock = Clock::Steady());

  // Saves to `path` and stays attached: a Flush brings the file up to date and costs the new pages, the new tokens and
  // one state slot. Borrows `fs`. A second Attach replaces the first.
  absl::StatusOr<SaveReport> Attach(FileSystem& fs, const std::string& path, const SaveParams& params = {});
  // FailedPrecondition: not attached, or somebody else wrote to the file. After a failure of the file system the session
  // is whole and the file old or new, but no longer followed: Attach anew. Of `params`, ring is as for Save; ladder takes
  // marks and a checkpoint for so many tokens as weigh as much, so that with it too a file stays in proportion to its
  // session. What the flush before wrote is a checkpoint in any case: a loaded session goes back by one turn at no price.
  absl::StatusOr<SaveReport> Flush(const SaveParams& params = {Durability::kFull, false, false, {}});
  absl::Status Detach();
  absl::StatusOr<bool> attached() const;

  // Saves to `path`, or flushes to the attached file when it is empty, and gives the memory back. The next call that
  // needs the session wakes it first, and answers with the load's error, the session still asleep, when that fails: also
  // DataLoss when the file holds another session by then. Waking checks every byte, as a load that is not lazy. Borrows
  // `fs` until then.
  absl::StatusOr<SaveReport> Hibernate(FileSystem& fs, const std::string& path = "");
  absl::Status Wake();
  bool asleep() const;     // any thread

  // Bytes of the program's own that go into the file; at most kMaxUserBlobBytes, else ResourceExhausted.
  absl::Status SetUserBlob(std::string blob);
  absl::StatusOr<std::string> UserBlob() const;

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
  friend class AwakeScope;
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
