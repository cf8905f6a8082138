// kernels/ref/project_row.h — one activation row through several matrices, shared by matvec and
// matmul.
#pragma once

#include "kernels/ops/matvec.h"
#include "kernels/ref/scalar.h"

namespace rill::ref {

inline void ProjectRow(const TensorView& x, absl::Span<const Projection> projections,
                       bool accumulate, int64_t t) {
  for (const Projection& projection : projections) {
    const int64_t N = projection.weight.rows;
    float* out = projection.out.f32() + t * N;
    for (int64_t n = 0; n < N; ++n) {
      const float y = RowDot(projection.weight, n, x.f32() + t * x.dim[1]);
      out[n] = accumulate ? out[n] + y : y;
    }
  }
}

}  // namespace rill::ref
