// model/layers/moe.h — a mixture-of-experts block: router, routed experts, shared experts.
#pragma once

#include "absl/status/status.h"
#include "kernels/ops/layer_weights.h"
#include "model/config.h"
#include "model/graph/scratch.h"
#include "model/layers/glu.h"
#include "model/layers/pass.h"

namespace rill {

struct MoeBuffers {
  TensorView scores;     // [T, E]
  TensorView ids;        // [T, top_k] i32
  TensorView weights;    // [T, top_k]
  TensorView sum;        // [T, D]  routed, then shared, before the residual: the order of the released code
  TensorView workspace;  // of experts
  GluBuffers shared;     // of width S * I, when there are shared experts
  static MoeBuffers Take(Scratch& scratch, const ModelConfig& config, int64_t n_tokens);
};

// x += routed(a) + shared(a)
absl::Status MoeForward(const Pass& pass, const MoeWeights& w, const MoeBuffers& b, const TensorView& a,
                        const TensorView& x);

}  // namespace rill
