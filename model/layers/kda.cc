#include "model/layers/kda.h"

#include "kernels/base/status.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_chunk.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/kda_step.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/short_conv.h"

namespace rill {
namespace {

constexpr float kL2Eps = 1e-6f;  // on the sum of squares (model.md 2.3)

absl::Status Convolve(const Pass& pass, const TensorView& x, const TensorView& weight, const TensorView& tail,
                      const TensorView& out) {
  return pass.ops().short_conv(pass.device, ShortConvArgs{x, weight, tail, out, {}, {}, pass.position});
}

TensorView Heads(const TensorView& v, int64_t heads, int64_t dim) {
  return MakeView(v.data, v.dtype, v.dim[0], heads, dim);
}

}  // namespace

KdaBuffers KdaBuffers::Take(Scratch& s, const ModelConfig& c, int64_t T) {
  const int64_t C = c.kda_width(), R = c.kda_gate_rank;
  KdaBuffers b;
  b.raw_q = s.F32(T, C), b.raw_k = s.F32(T, C), b.raw_v = s.F32(T, C);
  b.q = s.F32(T, C), b.k = s.F32(T, C), b.v = s.F32(T, C);
  b.f_low = s.F32(T, R), b.g_low = s.F32(T, R);
  b.decay = s.F32(T, C), b.gate = s.F32(T, C);
  b.beta = s.F32(T, c.kda_heads);
  b.chunk = s.Bytes(KdaChunkWorkspaceBytes(T, c.kda_heads, c.kda_head_dim, c.kda_head_dim));
  return b;
}

absl::Status KdaForward(const Pass& pass, const KdaWeights& w, const KdaState& state, const KdaBuffers& b,
                        const TensorView& a, const TensorView& x) {
  const int64_t C = w.heads * w.head_dim, T = pass.n_tokens;
  Device& device = pass.device;
  const OpTable& ops = pass.ops();

  RILL_RETURN_IF_ERROR(pass.Project(a, {{w.q, b.raw_q}, {w.k, b.raw_k}, {w.v, b.raw_v},
                                        {w.f_a, b.f_low}, {w.g_a, b.g_low}, {w.b, b.beta}}));
  RILL_RETURN_IF_ERROR(pass.Project(b.f_low, {{w.f_b, b.decay}}));
  RILL_RETURN_IF_ERROR(pass.Project(b.g_low, {{w.g_b, b.gate}}));

  RILL_RETURN_IF_ERROR(Convolve(pass, b.raw_q, w.conv_q, state.tail.Rows(0, C), b.q));
  RILL_RETURN_IF_ERROR(Convolve(pass, b.raw_k, w.conv_k, state.tail.Rows(C, C), b.k));
  RILL_RETURN_IF_ERROR(Convolve(pass, b.raw_v, w.conv_v, state.tail.Rows(2 * C, C), b.v));

  const TensorView q = Heads(b.q, w.heads, w.head_dim), k = Heads(b.k, w.heads, w.head_dim);
  const TensorView v = Heads(b.v, w.heads, w.head_dim), g = Heads(b.decay, w.heads, w.head_dim);
  RILL_RETURN_IF_ERROR(ops.l2_norm(device, L2NormArgs{kL2Eps, q, q}));
  RILL_RETURN_IF_ERROR(ops.l2_norm(device, L2NormArgs{kL2Eps, k, k}));
  RILL_RETURN_IF_ERROR(ops.kda_gate(device, KdaGateArgs{g, w.a_log, w.dt_bias, b.beta, g, b.beta}));

  const TensorView out = v;  // both operators may write over v
  if (T == 1) {
    RILL_RETURN_IF_ERROR(ops.kda_step(
        device, KdaStepArgs{w.scale, q, k, v, g, b.beta, state.recurrent, out, {}, pass.position}));
  } else {
    RILL_RETURN_IF_ERROR(ops.kda_chunk(
        device, KdaChunkArgs{w.scale, q, k, v, g, b.beta, state.recurrent, out, {}, {}, pass.position, b.chunk}));
  }
  RILL_RETURN_IF_ERROR(ops.gated_rms_norm(
      device, GatedRmsNormArgs{w.norm_eps, out, Heads(b.gate, w.heads, w.head_dim), w.o_norm, out}));
  return pass.Project(b.v, {{w.o, x}}, /*accumulate=*/true);
}

}  // namespace rill
