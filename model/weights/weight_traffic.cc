#include "model/weights/weight_traffic.h"

namespace rill {
namespace {

uint64_t PassBytes(const TensorSpec& spec) {
  if (!IsQuantized(spec.format)) return spec.bytes;
  const uint64_t matrices = spec.role == Role::kExpert ? 3 : 1;  // gate, up, down
  const uint64_t weights = matrices * static_cast<uint64_t>(spec.rows) * static_cast<uint64_t>(spec.cols);
  return spec.bytes + 2 * sizeof(uint16_t) * weights;
}

}  // namespace

WeightTraffic MeasureWeightTraffic(const ModelConfig& config, const Recipe& recipe) {
  WeightTraffic traffic;
  uint64_t experts = 0;
  for (const TensorSpec& spec : MakeTensorTable(config, recipe)) {
    if (spec.role == Role::kExpert) {
      experts += spec.bytes;
      traffic.pass_experts += PassBytes(spec);
    } else if (spec.role == Role::kEmbedding && !config.tie_embeddings) {
      // A pass needs a row a token, which is nothing beside the rest.
      traffic.step += spec.bytes / static_cast<uint64_t>(spec.rows);
    } else {
      traffic.step += spec.bytes;
      traffic.pass_common += PassBytes(spec);
    }
  }
  if (config.n_experts == 0) return traffic;
  // All records are of one size, so the division is exact before the product.
  traffic.step += experts / static_cast<uint64_t>(config.n_experts) * static_cast<uint64_t>(config.experts_per_token);
  return traffic;
}

}  // namespace rill
