// model/layers/mla.h — a Multi-head Latent Attention layer: query, latent row, absorbed attention, output. No rotation.
#pragma once

#include "absl/status/status.h"
#include "kernels/ops/layer_weights.h"
#include "kernels/ops/mla_cache.h"
#include "model/config.h"
#include "model/graph/scratch.h"
#include "model/layers/pass.h"

namespace rill {

struct MlaBuffers {
  TensorView q_low;      // [T, Q]  only with q_lora_rank
  TensorView q;          // [T, H * (N + P)]
  TensorView kv;         // [T, R + P]
  TensorView out;        // [T, H * V]
  TensorView workspace;  // of mla_decode and mla_prefill up to `max_tokens` rows

  static MlaBuffers Take(Scratch& scratch, const ModelConfig& config, int64_t n_tokens, int64_t max_tokens);
};

// x += MLA(a). Appends the rows of the T tokens at pass.position to `cache`, then attends.
absl::Status MlaForward(const Pass& pass, const MlaWeights& w, const MlaCacheView& cache, const MlaBuffers& b,
                        const TensorView& a, const TensorView& x);

}  // namespace rill
