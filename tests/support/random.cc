#include "tests/support/random.h"

#include <cstdio>
#include <cstdlib>

namespace rill::test {

uint64_t Seed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("RILL_TEST_SEED");
    const uint64_t value =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("RILL_TEST_SEED=%llu repeats this run\n", static_cast<unsigned long long>(value));
    std::fflush(stdout);
    return value;
  }();
  return seed;
}

}  // namespace rill::test
