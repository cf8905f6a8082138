#include "kernels/ops/l2_norm.h"

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status L2Norm(Device&, const L2NormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t rows = args.x.dim[0] * args.x.dim[1], K = args.x.dim[2];
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = args.x.f32() + row * K;
    float* out = args.out.f32() + row * K;
    const float length = std::sqrt(SumOfSquares(x, K) + args.eps);
    for (int64_t d = 0; d < K; ++d) out[d] = x[d] / length;
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
