#include "kernels/ops/gated_rms_norm.h"

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status GatedRmsNorm(Device&, const GatedRmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t rows = args.x.dim[0] * args.x.dim[1], V = args.x.dim[2];
  const float* weight = args.weight.f32();
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = args.x.f32() + row * V;
    const float* gate = args.gate.f32() + row * V;
    float* out = args.out.f32() + row * V;
    const float rms = RootMeanSquare(x, V, args.eps);
    for (int64_t d = 0; d < V; ++d) out[d] = x[d] / rms * weight[d] * Sigmoid(gate[d]);
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
