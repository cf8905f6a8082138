// tests/support/random.h — fresh random inputs from a seed that is printed, so that any failure can
// be repeated.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace rill::test {

// The seed of this process: RILL_TEST_SEED when it is set, else the system's entropy. Printed once.
uint64_t Seed();

class Random {
 public:
  Random() : engine_(Seed()) {}
  explicit Random(uint64_t seed) : engine_(seed) {}

  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 40) * (1.0f / 16777216.0f);
  }
  int64_t Int(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  uint64_t Bits() { return engine_(); }

  std::vector<float> Floats(int64_t n, float low = -1, float high = 1) {
    std::vector<float> v(n);
    for (float& x : v) x = Uniform(low, high);
    return v;
  }

  // Bell-shaped with this standard deviation, as weights are.
  std::vector<float> Normal(int64_t n, float deviation = 1) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> v(n);
    for (float& x : v) x = normal(engine_);
    return v;
  }

  // `n_rows` rows of Euclidean length 1.
  std::vector<float> UnitRows(int64_t n_rows, int64_t n) {
    std::vector<float> v = Normal(n_rows * n);
    for (int64_t row = 0; row < n_rows; ++row) {
      double sum = 1e-30;
      for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(v[row * n + i]) * v[row * n + i];
      for (int64_t i = 0; i < n; ++i)
        v[row * n + i] = static_cast<float>(v[row * n + i] / std::sqrt(sum));
    }
    return v;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace rill::test
