// sdk/tools/measure.h — one repetition of a measurement: its time, and what it took of a device.
#pragma once

#include <time.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/base/clock.h"
#include "kernels/base/status.h"
#include "kernels/device/device.h"
#include "sdk/tools/load_model.h"

namespace rill::tools {

// Cancelled after an interrupt.
inline absl::StatusOr<double> SecondsOf(Clock& clock, absl::FunctionRef<absl::Status()> work) {
  if (Interrupted()) return absl::CancelledError("interrupted");
  const int64_t start = clock.NowNanos();
  RILL_RETURN_IF_ERROR(work());
  return 1e-9 * static_cast<double>(clock.NowNanos() - start);
}

// Runs while the process does, on all processors together. With one thread it says what a machine
// that others use would have needed alone, but for its waits.
class ProcessorClock final : public Clock {
 public:
  int64_t NowNanos() override {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  }
};

inline bool StopOnInterrupt(uint64_t, uint64_t) { return Interrupted(); }

inline uint64_t Growth(uint64_t before, uint64_t now) { return now > before ? now - before : 0; }

// Growth of a device's account since this was made.
class AccountGrowth {
 public:
  explicit AccountGrowth(const Device& device)
      : device_(device),
        before_(device.allocated_bytes()),
        record_(device.peak_allocated_bytes()) {}
  uint64_t now() const { return Growth(before_, device_.allocated_bytes()); }
  // The device knows its highest value ever: this one's is known only where it is a new record.
  uint64_t peak() const {
    const uint64_t peak = device_.peak_allocated_bytes();
    return peak > record_ ? peak - before_ : now();
  }

 private:
  const Device& device_;
  uint64_t before_, record_;
};

}  // namespace rill::tools
