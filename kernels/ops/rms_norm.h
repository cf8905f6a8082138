// ops/rms_norm.h — root mean square normalisation of rows.
//
//   out[t, d] = x[t, d] / sqrt(mean_d(x[t, :]^2) + eps) * weight[d]
// The mean is one float32 sum in the order docs/NUMERICS.md gives. Specification: kernels/ref/rms_norm.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct RmsNormArgs {
  float eps;
  TensorView x;        // [T, D] f32
  TensorView weight;   // [D] f32
  TensorView out;      // [T, D] f32  may be x itself
};

absl::Status Check(const RmsNormArgs& args);

}  // namespace rill
