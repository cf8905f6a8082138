// ops/matmul.h — T activation rows through one or several weight matrices (prefill).
//
//   y_i[t, n] (+)= sum_k x[t, k] * W_i[n, k]
// Row t has the bits matvec would give it. Specification: kernels/ref/matmul.cc.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matvec.h"

namespace rill {

struct MatmulArgs {
  TensorView x;                              // [T, K] f32
  absl::Span<const Projection> projections;  // as in matvec, outs [T, N]
  bool accumulate;
};

absl::Status Check(const MatmulArgs& args);

}  // namespace rill
