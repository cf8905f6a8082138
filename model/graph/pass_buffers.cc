#include "model/graph/pass_buffers.h"

#include <algorithm>

namespace rill {
namespace {

// Bytes the hungriest layer takes for T tokens.
uint64_t LayerBytes(const ModelConfig& c, int64_t T, int64_t max_tokens) {
  uint64_t most = 0;
  for (const LayerKind& kind : c.layers) {
    Scratch mixer(nullptr), ffn(nullptr);
    if (kind.mixer == MixerKind::kKda) KdaBuffers::Take(mixer, c, T);
    if (kind.mixer == MixerKind::kMla) MlaBuffers::Take(mixer, c, T, max_tokens);
    if (kind.ffn == FfnKind::kDense) GluBuffers::Take(ffn, c.dense_width, T);
    if (kind.ffn == FfnKind::kMoe) MoeBuffers::Take(ffn, c, T);
    most = std::max({most, mixer.used(), ffn.used()});
  }
  return most;
}

}  // namespace

uint64_t LogitsBytes(const ModelConfig& c) {
  Scratch scratch(nullptr);
  scratch.F32(c.vocab_size);
  return scratch.used();
}

PassBuffers PassBuffers::Take(Scratch& s, const ModelConfig& c, const SessionShape& shape) {
  const int64_t T = std::min(shape.prefill_chunk, shape.max_tokens);
  PassBuffers b;
  b.ids = s.Take(DType::kI32, T);
  b.x = s.F32(T, c.hidden_size);
  b.normed = s.F32(T, c.hidden_size);
  b.head = s.F32(kHeadRows, c.vocab_size);
  // A short pass may need more than the longest one (attention splits fewer queries over more partials).
  uint64_t layer = 0;
  for (int64_t t = 1; t <= T; ++t) layer = std::max(layer, LayerBytes(c, t, shape.max_tokens));
  b.layer_base = s.Bytes(layer).data;
  return b;
}

}  // namespace rill
