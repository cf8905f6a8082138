#include "model/graph/replay.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/ops/kda_replay.h"
#include "kernels/ops/short_conv.h"

namespace rill {
namespace {

// The tail holds the last W - 1 inputs, so only those need to pass through it. The convolution's output is not wanted.
absl::Status ReplayTail(Device& device, const TensorView& weight, const TensorView& tail, const TensorView& ring,
                        int64_t from, int64_t to, float* scratch) {
  const int64_t C = ring.dim[1], R = ring.dim[0];
  for (int64_t t = std::max(from, to - tail.dim[1]); t < to; ++t) {
    RILL_RETURN_IF_ERROR(device.ops().short_conv(
        device, ShortConvArgs{ring.Rows(t % R, 1), weight, tail, F32View(scratch, 1, C), {}, {}, t}));
  }
  return absl::OkStatus();
}

absl::Status ReplayLayer(Device& device, const KdaWeights& w, const KdaState& state, int64_t from, int64_t to,
                         float* scratch) {
  RILL_RETURN_IF_ERROR(device.ops().kda_replay(device, KdaReplayArgs{state.ring, from, to - from, state.recurrent}));
  const TensorView* weights[3] = {&w.conv_q, &w.conv_k, &w.conv_v};
  const int64_t C = state.conv_ring[0].dim[1];
  for (int i = 0; i < 3; ++i) {
    RILL_RETURN_IF_ERROR(
        ReplayTail(device, *weights[i], state.tail.Rows(i * C, C), state.conv_ring[i], from, to, scratch));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReplayTokens(const Model& model, SequenceState& state, int64_t to, float* scratch) {
  const int64_t from = state.position();
  if (from == to) return absl::OkStatus();
  if (to < from || to - from > state.ring().slots()) {
    return absl::InternalError(absl::StrCat("replay of ", from, " to ", to, ": the ring has ", state.ring().slots()));
  }
  for (int64_t l = 0; l < model.config().n_layers(); ++l) {
    const LayerWeights& w = model.weights().layers[l];
    if (w.is_kda) RILL_RETURN_IF_ERROR(ReplayLayer(model.device(), w.kda, state.kda(l), from, to, scratch));
  }
  state.Advance(to - from);
  return absl::OkStatus();
}

}  // namespace rill
