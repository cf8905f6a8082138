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

// Channels of q, k or v: `which` is 0, 1, 2.
absl::Status Convolve(const Pass& pass, int which, const TensorView& x, const TensorView& weight, const KdaState& state,
                      absl::Span<const KdaTap> taps, const TensorView& out) {
  const int64_t C = x.dim[1], first = which * C;
  StateExport exports[kMaxTaps] = {};
  for (size_t i = 0; i < taps.size(); ++i) exports[i] = {taps[i].after, taps[i].to.tail.Rows(first, C).data};
  return pass.ops().short_conv(pass.device,
                               ShortConvArgs{x, weight, state.tail.Rows(first, C), out, {exports, taps.size()},
                                             state.conv_ring[which], pass.position});
}

// A step has no exports: what a tap after its one token wants is the state itself.
absl::Status Recur(const Pass& pass, const KdaWeights& w, const KdaState& state, absl::Span<const KdaTap> taps,
                   const KdaBuffers& b, const TensorView& q, const TensorView& k, const TensorView& v,
                   const TensorView& g) {
  if (pass.n_tokens > 1) {
    StateExport exports[kMaxTaps] = {};
    for (size_t i = 0; i < taps.size(); ++i) exports[i] = {taps[i].after, taps[i].to.recurrent.data};
    return pass.ops().kda_chunk(pass.device, KdaChunkArgs{w.scale, q, k, v, g, b.beta, state.recurrent, v,
                                                          {exports, taps.size()}, state.ring, pass.position, b.chunk});
  }
  RILL_RETURN_IF_ERROR(pass.ops().kda_step(
      pass.device, KdaStepArgs{w.scale, q, k, v, g, b.beta, state.recurrent, v, state.ring, pass.position}));
  if (taps.empty()) return absl::OkStatus();
  return pass.device.CopyOn(taps[0].to.recurrent.data, state.recurrent.data,
                            static_cast<size_t>(state.recurrent.bytes()));
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

absl::Status KdaForward(const Pass& pass, const KdaWeights& w, const KdaState& state, absl::Span<const KdaTap> taps,
                        const KdaBuffers& b, const TensorView& a, const TensorView& x) {
  Device& device = pass.device;
  const OpTable& ops = pass.ops();

  RILL_RETURN_IF_ERROR(pass.Project(a, {{w.q, b.raw_q}, {w.k, b.raw_k}, {w.v, b.raw_v},
                                        {w.f_a, b.f_low}, {w.g_a, b.g_low}, {w.b, b.beta}}));
  RILL_RETURN_IF_ERROR(pass.Project(b.f_low, {{w.f_b, b.decay}}));
  RILL_RETURN_IF_ERROR(pass.Project(b.g_low, {{w.g_b, b.gate}}));

  RILL_RETURN_IF_ERROR(Convolve(pass, 0, b.raw_q, w.conv_q, state, taps, b.q));
  RILL_RETURN_IF_ERROR(Convolve(pass, 1, b.raw_k, w.conv_k, state, taps, b.k));
  RILL_RETURN_IF_ERROR(Convolve(pass, 2, b.raw_v, w.conv_v, state, taps, b.v));

  const TensorView q = Heads(b.q, w.heads, w.head_dim), k = Heads(b.k, w.heads, w.head_dim);
  const TensorView v = Heads(b.v, w.heads, w.head_dim), g = Heads(b.decay, w.heads, w.head_dim);
  RILL_RETURN_IF_ERROR(ops.l2_norm(device, L2NormArgs{kL2Eps, q, q}));
  RILL_RETURN_IF_ERROR(ops.l2_norm(device, L2NormArgs{kL2Eps, k, k}));
  RILL_RETURN_IF_ERROR(ops.kda_gate(device, KdaGateArgs{g, w.a_log, w.dt_bias, b.beta, g, b.beta}));

  const TensorView out = v;  // the recurrence may write over v
  RILL_RETURN_IF_ERROR(Recur(pass, w, state, taps, b, q, k, v, g));
  RILL_RETURN_IF_ERROR(ops.gated_rms_norm(
      device, GatedRmsNormArgs{w.norm_eps, out, Heads(b.gate, w.heads, w.head_dim), w.o_norm, out}));
  return pass.Project(b.v, {{w.o, x}}, /*accumulate=*/true);
}

}  // namespace rill
