#include "kernels/ops/experts.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Experts(Device&, const ExpertsArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const ExpertsView& experts = args.experts;
  const int64_t T = args.x.dim[0], D = experts.hidden, N = experts.width, top_k = args.ids.dim[1];
  float* activated = args.workspace.f32();  // [N]
  float* sum = activated + N;               // [D]
  for (int64_t t = 0; t < T; ++t) {
    const float* x = args.x.f32() + t * D;
    float* out = args.out.f32() + t * D;
    std::fill(sum, sum + D, 0.0f);
    for (int64_t j = 0; j < top_k; ++j) {
      const int e = args.ids.as<int32_t>()[t * top_k + j];
      const float weight = args.weights.f32()[t * top_k + j];
      const MatrixView gate = experts.Gate(e), up = experts.Up(e), down = experts.Down(e);
      for (int64_t n = 0; n < N; ++n) activated[n] = Silu(RowDot(gate, n, x)) * RowDot(up, n, x);
      for (int64_t d = 0; d < D; ++d) sum[d] += weight * RowDot(down, d, activated);
    }
    for (int64_t d = 0; d < D; ++d) out[d] = args.accumulate ? out[d] + sum[d] : sum[d];
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
