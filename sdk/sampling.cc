#include "sdk/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr float kHuge = 1e6f;  // far above any use, far below where a float32 logit overflows

// Written so that a NaN does not fit either.
absl::Status Within(absl::string_view field, float value, float lowest, float highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected ", lowest, " to ", highest));
}

absl::Status Positive(absl::string_view field, float value, float highest) {
  if (value > 0 && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected above 0, at most ", highest));
}

// On the stack: a biased sampler checks this for every token.
absl::Status CheckDistinct(const std::vector<TokenBias>& bias) {
  std::array<int32_t, kMaxTokenBiases> ids;
  for (size_t i = 0; i < bias.size(); ++i) ids[i] = bias[i].id;
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(bias.size());
  std::sort(ids.begin(), end);
  const auto twice = std::adjacent_find(ids.begin(), end);
  if (twice == end) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("bias: token ", *twice, " is listed twice"));
}

absl::Status CheckBias(const std::vector<TokenBias>& bias, int64_t vocab_size) {
  if (bias.size() > kMaxTokenBiases) {
    return absl::InvalidArgumentError(
        absl::StrCat("bias: ", bias.size(), " tokens, the limit is ", kMaxTokenBiases));
  }
  for (const TokenBias& b : bias) {
    if (b.id < 0 || b.id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("bias: token ", b.id, ", expected 0 to ", vocab_size - 1));
    }
    if (b.value != -INFINITY) RILL_RETURN_IF_ERROR(Within("bias.value", b.value, -kHuge, kHuge));
  }
  return CheckDistinct(bias);
}

}  // namespace

absl::Status Validate(const SamplingParams& p, int64_t vocab_size) {
  RILL_RETURN_IF_ERROR(Within("temperature", p.temperature, 0, kHuge));
  if (p.top_k < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_k: ", p.top_k, ", expected 0 to ", INT32_MAX));
  }
  RILL_RETURN_IF_ERROR(Positive("top_p", p.top_p, 1));
  RILL_RETURN_IF_ERROR(Within("min_p", p.min_p, 0, 1));
  RILL_RETURN_IF_ERROR(Positive("repeat_penalty", p.repeat_penalty, kHuge));
  RILL_RETURN_IF_ERROR(Within("frequency_penalty", p.frequency_penalty, -kHuge, kHuge));
  RILL_RETURN_IF_ERROR(Within("presence_penalty", p.presence_penalty, -kHuge, kHuge));
  if (p.penalty_window > kMaxPenaltyWindow) {
    return absl::InvalidArgumentError(
        absl::StrCat("penalty_window: ", p.penalty_window, ", expected 0 to ", kMaxPenaltyWindow));
  }
  return CheckBias(p.bias, vocab_size);
}

bool NeedsWindow(const SamplingParams& p) {
  return p.repeat_penalty != 1 || p.frequency_penalty != 0 || p.presence_penalty != 0;
}

}  // namespace rill
