// sdk/sampling.h — sampling parameters and their validation.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/ops/sample.h"

namespace rill {

// Order and meaning of every step: kernels/ops/sample.h.
struct SamplingParams {
  float temperature = 1.0f;         // 0: greedy
  int32_t top_k = 0;                // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repeat_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  uint32_t penalty_window = 256;    // last tokens the penalties look at; at most 4096
  uint64_t seed = 0;                // the draw is Philox(seed, position): same seed, same position, same token
  std::vector<TokenBias> bias;      // distinct ids, at most 1024
};

// InvalidArgument names the field, its value and the limits.
absl::Status Validate(const SamplingParams& params, int64_t vocab_size);

}  // namespace rill
