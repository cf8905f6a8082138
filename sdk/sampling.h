// sdk/sampling.h — sampling parameters and their validation.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/ops/sample.h"

namespace rill {

// Both bound the time and the memory a token may take.
inline constexpr uint32_t kMaxPenaltyWindow = 4096;
inline constexpr size_t kMaxTokenBiases = 1024;

// Order and meaning of every step: kernels/ops/sample.h.
struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0: all
  float top_p = 1.0f;        // in (0, 1]
  float min_p = 0.0f;        // in [0, 1]
  float repeat_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  uint32_t penalty_window = 256;  // last tokens the penalties look at; at most kMaxPenaltyWindow
  uint64_t seed = 0;              // the draw is Philox(seed, position): same seed, same position,
                                  // same logits, same token
  std::vector<TokenBias> bias;    // distinct ids, at most kMaxTokenBiases; -inf forbids a token
};

// InvalidArgument names the field, its value and the limits. Allocates nothing when all is well.
absl::Status Validate(const SamplingParams& params, int64_t vocab_size);

// Whether the penalties do anything at all.
bool NeedsWindow(const SamplingParams& params);

}  // namespace rill
