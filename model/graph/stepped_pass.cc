#include "model/graph/stepped_pass.h"

#include <cmath>

namespace rill {

int64_t LongestSteppedPass(const ModelConfig& config, const WeightTraffic& traffic, int64_t prefill_chunk) {
  const double used =
      config.n_experts == 0 ? 0 : static_cast<double>(config.experts_per_token) / static_cast<double>(config.n_experts);
  int64_t longest = 1;
  while (longest < prefill_chunk) {
    const double n = static_cast<double>(longest + 1);
    const double experts = 1 - std::pow(1 - used, n);  // that a pass needs: tokens choose theirs independently
    if (n * static_cast<double>(traffic.step) >
        static_cast<double>(traffic.pass_common) + experts * static_cast<double>(traffic.pass_experts)) {
      break;
    }
    ++longest;
  }
  return longest;
}

}  // namespace rill
