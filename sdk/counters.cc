#include "sdk/counters.h"

namespace rill {

void Counters::Fill(SessionStats* stats) const {
  stats->prefill_tokens = prefill_tokens.load(std::memory_order_relaxed);
  stats->decode_tokens = decode_tokens.load(std::memory_order_relaxed);
  stats->sampled_tokens = sampled_tokens.load(std::memory_order_relaxed);
  stats->cancelled_calls = cancelled_calls.load(std::memory_order_relaxed);
  stats->prefill_nanos = prefill_nanos.load(std::memory_order_relaxed);
  stats->decode_nanos = decode_nanos.load(std::memory_order_relaxed);
  stats->last_ttft_nanos = last_ttft_nanos.load(std::memory_order_relaxed);
}

uint64_t WeightBytesPerToken(const ModelConfig& config, const Recipe& recipe) {
  uint64_t bytes = 0, experts = 0;
  for (const TensorSpec& spec : MakeTensorTable(config, recipe)) {
    if (spec.role == Role::kExpert) {
      experts += spec.bytes;
    } else if (spec.role == Role::kEmbedding && !config.tie_embeddings) {
      bytes += spec.bytes / static_cast<uint64_t>(spec.rows);
    } else {
      bytes += spec.bytes;
    }
  }
  if (config.n_experts == 0) return bytes;
  // All records are of one size, so the division is exact before the product.
  return bytes + experts / static_cast<uint64_t>(config.n_experts) *
                     static_cast<uint64_t>(config.experts_per_token);
}

}  // namespace rill
