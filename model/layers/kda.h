// model/layers/kda.h — a Kimi Delta Attention layer: projections, convolutions, gates, recurrence, gated norm, output.
#pragma once

#include "absl/status/status.h"
#include "kernels/ops/kda_step.h"
#include "kernels/ops/layer_weights.h"
#include "kernels/ops/state_export.h"
#include "model/config.h"
#include "model/graph/scratch.h"
#include "model/layers/pass.h"

namespace rill {

// Activations of T tokens. Views into the pass's scratch.
struct KdaBuffers {
  TensorView raw_q, raw_k, raw_v;   // [T, C]  projection outputs
  TensorView q, k, v;               // [T, C]  after convolution, SiLU (and L2 norm)
  TensorView f_low, g_low;          // [T, R]
  TensorView decay;                 // [T, C]  gate logits, then log decay
  TensorView gate;                  // [T, C]  output gate logits
  TensorView beta;                  // [T, H]
  TensorView chunk;                 // workspace of kda_chunk

  static KdaBuffers Take(Scratch& scratch, const ModelConfig& config, int64_t n_tokens);
};

// A session's part of this layer. Read and written.
struct KdaState {
  TensorView recurrent;             // [H, K, V] f32
  TensorView tail;                  // [3 * C, W - 1] f32  channels of q, k, v
  KdaRing ring;                     // what a replay needs of the last tokens; absent when nothing is recorded
  TensorView conv_ring[3];          // [R, C] f32 each: inputs of the convolutions of q, k, v, likewise
};

// Copies of a layer's part taken inside a pass.
struct KdaTap {
  int64_t after;                    // tokens of this pass consumed; a list is strictly ascending
  KdaState to;                      // recurrent and tail alone
};
inline constexpr size_t kMaxTaps = 3;

// x += KDA(a). `a` [T, D] is the normed input, `x` [T, D] the residual stream; at most kMaxTaps taps.
absl::Status KdaForward(const Pass& pass, const KdaWeights& w, const KdaState& state, absl::Span<const KdaTap> taps,
                        const KdaBuffers& b, const TensorView& a, const TensorView& x);

}  // namespace rill
