#include "sdk/call_gate.h"

namespace rill {

absl::Status CallGate::Enter() {
  const std::thread::id self = std::this_thread::get_id();
  std::thread::id owner;
  if (owner_.compare_exchange_strong(owner, self)) {
    call_.fetch_add(1);
    return absl::OkStatus();
  }
  if (owner == self) {
    return absl::FailedPreconditionError(
        "session: re-entrant call, one from inside its own callback");
  }
  return absl::AbortedError("session: busy with a call of another thread");
}

void CallGate::Leave() {
  call_.fetch_add(1);
  owner_.store(std::thread::id());
}

void CallGate::Cancel() {
  if (in_task_.load()) {
    owed_.store(true);
    return;
  }
  const uint64_t running = call_.load();
  if (running % 2 == 0) return;
  uint64_t last = cancelled_.load();
  while (last < running && !cancelled_.compare_exchange_weak(last, running)) {
  }
}

void CallGate::BeginTask() {
  owed_.store(false);
  in_task_.store(true);
}

// What is still owed dies with the task: it must not hit whatever comes next.
void CallGate::EndTask() {
  in_task_.store(false);
  owed_.store(false);
}

}  // namespace rill
