// ops/l2_norm.h — unit length for queries and keys.
//
//   out[t, h, d] = x[t, h, d] / sqrt(sum_d(x[t, h, :]^2) + eps)
// eps lies inside the root and on the SUM, not on the mean: model.md calls this one of the ten traps.
// Specification: kernels/ref/l2_norm.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct L2NormArgs {
  float eps;
  TensorView x;     // [T, H, K] f32
  TensorView out;   // [T, H, K] f32  may be x itself
};

absl::Status Check(const L2NormArgs& args);

}  // namespace rill
