#include "kernels/cpu/descending.h"

#include <algorithm>

#include "kernels/base/dtype.h"

namespace rill::cpu {
namespace {

// Floats as unsigned integers of the opposite order, the id below.
uint64_t MakeKey(float value, int64_t id) {
  const uint32_t bits = FloatToBits(value + 0.0f);  // -0 becomes +0
  const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(~ascending) << 32 | static_cast<uint64_t>(id);
}

}  // namespace

Descending::Descending(const float* values, int64_t n, float largest, float near, uint64_t* keys)
    : values_(values), n_(n), bound_(largest - near), keys_(keys) {
  for (int64_t id = 0; id < n; ++id) {
    if (values[id] >= bound_) keys_[have_++] = MakeKey(values[id], id);
  }
}

void Descending::Extend(int64_t wanted) {
  if (wanted > have_) {  // beyond the near ones: all others follow
    for (int64_t id = 0; id < n_; ++id) {
      if (!(values_[id] >= bound_)) keys_[have_++] = MakeKey(values_[id], id);
    }
  }
  // In steps that grow, so that a long walk costs one sort in the end.
  const int64_t end = std::min(have_, std::max({wanted, 4 * sorted_, int64_t{64}}));
  if (end < have_) std::nth_element(keys_ + sorted_, keys_ + end, keys_ + have_);
  std::sort(keys_ + sorted_, keys_ + end);
  sorted_ = end;
}

}  // namespace rill::cpu
