// sdk/session_impl.h — the inside of a Session, for the files of this folder. Nothing here looks at
// the gate: callers have entered it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/graph/forward.h"
#include "model/graph/state.h"
#include "sdk/call_gate.h"
#include "sdk/counters.h"
#include "sdk/host_block.h"
#include "sdk/ladder.h"
#include "sdk/session.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/session_file.h"

namespace rill {

class Generation;

struct Session::Impl {
  Impl(Session& owner, Clock* time) : session(owner), clock(time) {}

  // Pools to share pages, rungs and logits with; null for new ones.
  struct Pools {
    std::shared_ptr<BlockPool> pages, rungs, logits;
  };
  absl::Status Allocate(const Pools& pools = {});

  // Checks that nothing is fed in part because of what could be known before. `length`: where they would be fed.
  absl::Status CheckFeed(absl::Span<const int32_t> ids, uint64_t length) const;
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

  // sdk/rewind.cc
  RewindCost CostOf(int64_t position) const;
  absl::Status CheckRewind(uint64_t position) const;
  absl::StatusOr<RewindCost> Rewind(uint64_t position, const AppendProgress& progress);
  absl::Status Reach(int64_t position, const RewindCost& cost, absl::FunctionRef<bool()> cancel);
  absl::StatusOr<SyncReport> Sync(absl::Span<const int32_t> ids, const AppendProgress& progress);
  absl::Status Mark(uint64_t tag);
  absl::Status Reset();

  // sdk/checkpoints.cc: the ladder grows.
  struct PassTaps {
    std::array<Rung, kMaxTaps> rungs;
    std::array<StateTap, kMaxTaps> taps;
    size_t n = 0;
  };
  absl::Status PlanTaps(int64_t n_tokens, PassTaps* taps);
  void KeepTaps(PassTaps taps);
  void KeepSpaced();
  absl::StatusOr<Rung> Capture(RungKind kind);
  absl::Status KeepBorder();
  absl::Status CopyLogitsTo(void* rung) const;
  absl::Status CopyLogitsFrom(const void* rung);

  // sdk/snapshot.cc
  absl::StatusOr<std::shared_ptr<const Snapshot>> TakeSnapshot();
  absl::Status Restore(const Snapshot& snapshot);
  absl::StatusOr<std::unique_ptr<Session>> Fork();
  // The reply that is open, or the one that was when this timeline was taken; empty when there is none.
  std::string OpenGeneration() const;
  absl::Status Assume(absl::Span<const int32_t> tokens, const void* rung, absl::Span<const BlockRef> pages);
  void Stand(uint64_t length);
  absl::Status NoGeneration() const;

  // sdk/persist.cc
  struct FileParts;
  absl::StatusOr<SaveReport> Flush(const SaveParams& params);
  FileProgress Watch(const AppendProgress& progress) const;  // and the gate; borrows it
  absl::Status LoadFrom(const std::shared_ptr<const SessionFile>& file, bool lazy);
  absl::StatusOr<std::vector<BlockRef>> LoadPages(const SessionFile& file);
  absl::Status Wake();

  // sdk/ladder_file.cc: the ladder goes to files and comes back.
  std::vector<const Rung*> RungsToWrite(const AttachedSessionFile* follows, bool with_ring) const;
  absl::Status LoadLadder(const SessionFile& file);
  absl::Status LoadPrevious(const SessionFile& file, bool lazy);
  absl::Status LoadRung(const SessionFile& file, const RungContent& from, RungKind kind, bool in_place);

  // sdk/ring_file.cc: records that came with a file and are read when a rewind wants them.
  struct FileRing {
    std::shared_ptr<const SessionFile> file;   // null: none
    int64_t first = 0, end = 0;
  };
  // Checkpoints of a lazily loaded file that nobody has looked at yet, by position.
  struct FileRungs {
    std::shared_ptr<const SessionFile> file;
    std::vector<int64_t> unchecked;   // by index in the file's ladder; -1: looked at, or gone
  };
  absl::Status CheckFileRung(int64_t position);
  int64_t FirstRecorded() const;
  absl::Status ReadFileRing();

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
  Ladder ladder;
  HostBlock ledger;          // [max_tokens] i32
  HostBlock sample_scratch;  // of the operator
  std::atomic<uint64_t> own_bytes{0};    // on the device

  FileRing file_ring;
  FileRungs file_rungs;
  std::unique_ptr<AttachedSessionFile> attached;
  uint64_t stable_prefix = 0;  // tokens whose rows are those of the last flush
  std::string user_blob;
  // While it sleeps there is no state, and this says where it lies.
  std::atomic<bool> asleep{false};
  FileSystem* bed = nullptr;
  std::string bed_path;
  Sha256Digest bed_tokens{};   // what the file there has to hold

  int64_t append_started = 0;
  bool first_token_due = false;  // an append waits for the token after it
  bool host_logits_fresh = false;
  std::atomic<bool> generation_open{false};
  const Generation* generation = nullptr;  // the open one
  std::string parked_generation;  // a reply that was open where this timeline was taken from: see Generation::Resume

  // The window, sorted, then counted. Members so that a token allocates nothing.
  std::array<int32_t, kMaxPenaltyWindow> window_ids;
  std::array<TokenCount, kMaxPenaltyWindow> window_counts;
};

// Enters a session for the length of a scope and wakes it; look at status() first.
class AwakeScope {
 public:
  explicit AwakeScope(Session::Impl& impl) : scope_(impl.gate), status_(scope_.status()) {
    if (status_.ok() && impl.asleep.load()) status_ = impl.Wake();
  }
  const absl::Status& status() const { return status_; }

 private:
  CallScope scope_;
  absl::Status status_;
};

}  // namespace rill
