// model/layers/glu.h — the gated feed-forward block: the dense FFN, and the shared experts of a MoE layer.
#pragma once

#include "absl/status/status.h"
#include "kernels/ops/layer_weights.h"
#include "model/graph/scratch.h"
#include "model/layers/pass.h"

namespace rill {

struct GluBuffers {
  TensorView gate, up;  // [T, I]
  static GluBuffers Take(Scratch& scratch, int64_t width, int64_t n_tokens);
};

// out += down(silu(gate a) * up a)
absl::Status GluForward(const Pass& pass, const GluWeights& w, const GluBuffers& b, const TensorView& a,
                        const TensorView& out);

}  // namespace rill
