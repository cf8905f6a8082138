#include "kernels/ops/kda_gate.h"

#include <cmath>

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {
namespace {

// log1p, because log(1 + exp(x)) loses every digit of exp(x) for x below -16.
float Softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

}  // namespace

absl::Status KdaGate(Device&, const KdaGateArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.f.dim[0], H = args.f.dim[1], K = args.f.dim[2];
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t h = 0; h < H; ++h) {
      const float a = std::exp(args.a_log.f32()[h]);
      const float* f = args.f.f32() + (t * H + h) * K;
      const float* dt_bias = args.dt_bias.f32() + h * K;
      float* g = args.g.f32() + (t * H + h) * K;
      for (int64_t d = 0; d < K; ++d) g[d] = -a * Softplus(f[d] + dt_bias[d]);
      args.beta.f32()[t * H + h] = Sigmoid(args.b.f32()[t * H + h]);
    }
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
