// ops/gated_rms_norm.h — the output norm of a KDA layer.
//
//   out[t, h, d] = x[t, h, d] / sqrt(mean_d(x[t, h, :]^2) + eps) * weight[d] * sigmoid(gate[t, h, d])
// `weight` is shared by all heads. Specification: kernels/ref/gated_rms_norm.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct GatedRmsNormArgs {
  float eps;
  TensorView x;        // [T, H, V] f32
  TensorView gate;     // [T, H, V] f32  logits, before the sigmoid
  TensorView weight;   // [V] f32
  TensorView out;      // [T, H, V] f32  may be x itself
};

absl::Status Check(const GatedRmsNormArgs& args);

}  // namespace rill
