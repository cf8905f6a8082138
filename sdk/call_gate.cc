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
  const uint64_t seen = call_.load();
  if (seen % 2 == 0 && !expectant_.load()) return;
  const uint64_t target = seen | 1;  // the call that runs, or the next
  uint64_t last = cancelled_.load();
  while (last < target && !cancelled_.compare_exchange_weak(last, target)) {
  }
}

}  // namespace rill
