#include "kernels/ops/rms_norm.h"

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status RmsNorm(Device&, const RmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.x.dim[0], D = args.x.dim[1];
  const float* weight = args.weight.f32();
  for (int64_t t = 0; t < T; ++t) {
    const float* x = args.x.f32() + t * D;
    float* out = args.out.f32() + t * D;
    const float rms = RootMeanSquare(x, D, args.eps);
    for (int64_t d = 0; d < D; ++d) out[d] = x[d] / rms * weight[d];
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
