// ops/matvec.h — one activation row through one or several weight matrices.
//
//   y_i[n] (+)= sum_k x[k] * W_i[n, k]              y_i in [0, W_i.rows)
// Several matrices that read the same row go into one call, so that a layer's input projections are one parallel loop.
// Order of the sum: docs/NUMERICS.md; the same for matvec and matmul, any number of rows and any number of threads.
// Specification: kernels/ref/matvec.cc.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"

namespace rill {

struct Projection {
  MatrixView weight;   // [N, K] any format
  TensorView out;      // [T, N] f32  may not overlap x or another out
};

struct MatvecArgs {
  TensorView x;                              // [1, K] f32
  absl::Span<const Projection> projections;  // at least one, at most 16; all with cols == K
  bool accumulate;                           // add to the outputs instead of writing them
};

absl::Status Check(const MatvecArgs& args);

}  // namespace rill
