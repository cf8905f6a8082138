// sdk/call_gate.h — one call at a time, told apart from re-entry, and cancelled from outside.
//
// Calls are numbered, and a cancellation names the call it is meant for: one that comes late cannot
// hit the call after. A task of several calls (a reply) is cancelled as a whole: what comes between
// two of its calls stays owed until a call has answered Cancelled.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/status/status.h"

namespace rill {

class CallGate {  // Thread-safe.
 public:
  // Aborted ("busy") while another thread is inside; FailedPrecondition ("re-entrant") when this
  // one is. Leave() only after Ok, on the same thread.
  absl::Status Enter();
  void Leave();

  // Meant for the call that runs, if any; during a task for the first that looks, whenever it does.
  void Cancel();

  // From inside a call: whether it was cancelled; and that it says so to its caller.
  bool cancelled() const {
    return cancelled_.load() == call_.load() || (in_task_.load() && owed_.load());
  }
  void Answered() { owed_.store(false); }

  void BeginTask();
  void EndTask();

 private:
  std::atomic<std::thread::id> owner_{};  // nobody: outside
  std::atomic<uint64_t> call_{0};         // odd while a call runs
  std::atomic<uint64_t> cancelled_{0};    // the call to end; never falls, never 0 for a real one
  std::atomic<bool> in_task_{false};
  std::atomic<bool> owed_{false};
};

// Enters for the length of a scope; look at status() first.
class CallScope {
 public:
  explicit CallScope(CallGate& gate) : gate_(gate), status_(gate.Enter()) {}
  ~CallScope() {
    if (status_.ok()) gate_.Leave();
  }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  const absl::Status& status() const { return status_; }

 private:
  CallGate& gate_;
  absl::Status status_;
};

}  // namespace rill
