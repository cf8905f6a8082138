#include "model/graph/stepped_pass.h"

#include <cmath>

namespace rill {
namespace {

// Bytes of what every token needs and of all experts: as they are read by a step, and as a pass moves them.
struct Moved {
  double common = 0, experts = 0;
};

double PassBytes(const TensorSpec& spec) {
  if (!IsQuantized(spec.format)) return static_cast<double>(spec.bytes);
  const double matrices = spec.role == Role::kExpert ? 3 : 1;  // gate, up, down
  const double weights = matrices * static_cast<double>(spec.rows) * static_cast<double>(spec.cols);
  return static_cast<double>(spec.bytes) + 2 * sizeof(uint16_t) * weights;
}

}  // namespace

int64_t LongestSteppedPass(const ModelConfig& config, const Recipe& recipe, int64_t prefill_chunk) {
  Moved step, pass;
  for (const TensorSpec& spec : MakeTensorTable(config, recipe)) {
    if (spec.role == Role::kEmbedding && !config.tie_embeddings) continue;  // a row a token in either case
    const bool expert = spec.role == Role::kExpert;
    (expert ? step.experts : step.common) += static_cast<double>(spec.bytes);
    (expert ? pass.experts : pass.common) += PassBytes(spec);
  }
  const double used =
      config.n_experts == 0 ? 0 : static_cast<double>(config.experts_per_token) / static_cast<double>(config.n_experts);
  int64_t longest = 1;
  while (longest < prefill_chunk) {
    const double n = static_cast<double>(longest + 1);
    // Tokens choose their experts independently.
    if (n * (step.common + used * step.experts) > pass.common + (1 - std::pow(1 - used, n)) * pass.experts) break;
    ++longest;
  }
  return longest;
}

}  // namespace rill
