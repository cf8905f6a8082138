// kernels/base/clock.h — time as a seam: statistics and throttles take a Clock, tests give a fake one.
#pragma once

#include <cstdint>

namespace rill {

class Clock {  // Thread-safe.
 public:
  virtual ~Clock() = default;
  virtual int64_t NowNanos() = 0;  // monotonic

  static Clock* Steady();  // the process-wide monotonic clock; never destroyed
};

}  // namespace rill
