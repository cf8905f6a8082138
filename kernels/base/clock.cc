#include "kernels/base/clock.h"

#include <chrono>

namespace rill {
namespace {

class SteadyClock final : public Clock {
 public:
  int64_t NowNanos() override {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  }
};

}  // namespace

Clock* Clock::Steady() {
  static Clock* const clock = new SteadyClock;
  return clock;
}

}  // namespace rill
