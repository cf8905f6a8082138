// kernels/cpu/descending.h — tokens in descending order of their logit, sorted only as far as
// anyone looks.
#pragma once

#include <cstdint>

namespace rill::cpu {

// Holds (value, id) in 64-bit keys whose ascending order is descending value, then ascending id.
// Memory is the caller's: `keys` has room for n. Values are not NaN; -0 and +0 are equal.
class Descending {
 public:
  // The n values at `values`. Those within `near` of `largest` are looked at first: a handful
  // decides nearly always.
  Descending(const float* values, int64_t n, float largest, float near, uint64_t* keys);

  int32_t Id(int64_t i) { return static_cast<int32_t>(Key(i)); }

 private:
  uint64_t Key(int64_t i) {
    if (i >= sorted_) Extend(i + 1);
    return keys_[i];
  }
  void Extend(int64_t wanted);

  const float* values_;
  int64_t n_;
  float bound_;  // values >= bound_ have keys, while have_ < n_
  uint64_t* keys_;
  int64_t have_ = 0;    // keys made
  int64_t sorted_ = 0;  // of them in their final place
};

}  // namespace rill::cpu
