#include "kernels/ops/mla_append.h"

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {
namespace {

void Store(const MlaCacheView& cache, int64_t token, int64_t i, float value) {
  if (cache.dtype == DType::kBf16) {
    static_cast<Bf16*>(cache.row(token))[i] = ToBf16(value);
  } else {
    static_cast<float*>(cache.row(token))[i] = value;
  }
}

}  // namespace

absl::Status MlaAppend(Device&, const MlaAppendArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.kv.dim[0], R = args.cache.latent, P = args.cache.rope;
  const float* weight = args.weight.f32();
  for (int64_t t = 0; t < T; ++t) {
    const float* kv = args.kv.f32() + t * (R + P);
    const float rms = RootMeanSquare(kv, R, args.eps);
    for (int64_t r = 0; r < R; ++r)
      Store(args.cache, args.position + t, r, kv[r] / rms * weight[r]);
    for (int64_t p = R; p < R + P; ++p) Store(args.cache, args.position + t, p, kv[p]);
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
