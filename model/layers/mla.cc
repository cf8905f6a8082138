#include "model/layers/mla.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/ops/mla_append.h"
#include "kernels/ops/mla_decode.h"
#include "kernels/ops/mla_prefill.h"
#include "kernels/ops/rms_norm.h"

namespace rill {

MlaBuffers MlaBuffers::Take(Scratch& s, const ModelConfig& c, int64_t T, int64_t max_tokens) {
  MlaBuffers b;
  if (c.q_lora_rank > 0) b.q_low = s.F32(T, c.q_lora_rank);
  b.q = s.F32(T, c.mla_heads * (c.qk_nope_dim + c.qk_rope_dim));
  b.kv = s.F32(T, c.mla_row());
  b.out = s.F32(T, c.mla_heads * c.v_head_dim);
  b.workspace = s.Bytes(MlaWorkspaceBytes(c.mla_shape(), T, max_tokens));
  return b;
}

absl::Status MlaForward(const Pass& pass, const MlaWeights& w, const MlaCacheView& cache, const MlaBuffers& b,
                        const TensorView& a, const TensorView& x) {
  const MlaShape& shape = w.shape;
  const int64_t T = pass.n_tokens;
  Device& device = pass.device;
  if (w.q_rank > 0) {
    RILL_RETURN_IF_ERROR(pass.Project(a, {{w.q_a, b.q_low}, {w.kv_a, b.kv}}));
    RILL_RETURN_IF_ERROR(pass.ops().rms_norm(device, RmsNormArgs{w.norm_eps, b.q_low, w.q_norm, b.q_low}));
    RILL_RETURN_IF_ERROR(pass.Project(b.q_low, {{w.q, b.q}}));
  } else {
    RILL_RETURN_IF_ERROR(pass.Project(a, {{w.q, b.q}, {w.kv_a, b.kv}}));
  }
  RILL_RETURN_IF_ERROR(
      pass.ops().mla_append(device, MlaAppendArgs{w.norm_eps, b.kv, w.kv_norm, cache, pass.position}));

  const TensorView q = MakeView(b.q.data, DType::kF32, T, shape.n_heads, shape.nope + shape.rope);
  const TensorView out = MakeView(b.out.data, DType::kF32, T, shape.n_heads, shape.value);
  if (T == 1) {
    RILL_RETURN_IF_ERROR(pass.ops().mla_decode(
        device, MlaDecodeArgs{shape, w.scale, q, w.kv_b, cache, pass.position + 1, out, b.workspace}));
  } else {
    RILL_RETURN_IF_ERROR(pass.ops().mla_prefill(
        device, MlaPrefillArgs{shape, w.scale, q, w.kv_b, cache, pass.position, out, b.workspace}));
  }
  return pass.Project(b.out, {{w.o, x}}, /*accumulate=*/true);
}

}  // namespace rill
