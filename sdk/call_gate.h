// sdk/call_gate.h — one call at a time, told apart from re-entry, and cancelled from outside.
//
// Calls are numbered; a cancellation names the call it is meant for. So one that comes late cannot
// hit the call after, and one that comes while a call runs cannot be lost.
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

  // Meant for the call that runs. When none does: for the next one if `expectant`, else for nobody.
  void Cancel();
  // Whether the running call was cancelled. From inside it.
  bool cancelled() const { return cancelled_.load() == call_.load(); }

  void set_expectant(bool expectant) { expectant_.store(expectant); }

 private:
  std::atomic<std::thread::id> owner_{};  // nobody: outside
  std::atomic<uint64_t> call_{0};         // odd while a call runs
  std::atomic<uint64_t> cancelled_{0};    // the call to end; never falls, never 0 for a real one
  std::atomic<bool> expectant_{false};
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
