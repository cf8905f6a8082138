#include "kernels/ops/sample.h"

#include <cmath>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {
namespace {

// Written so that a NaN does not fit either.
absl::Status CheckBetween(absl::string_view field, float value, float lowest, float highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected ", lowest, " to ", highest));
}

absl::Status CheckParameters(const SampleArgs& args) {
  RILL_RETURN_IF_ERROR(CheckFinite("sample.temperature", args.temperature));
  if (args.temperature < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sample.temperature: ", args.temperature, ", expected at least 0"));
  }
  RILL_RETURN_IF_ERROR(CheckRange("sample.top_k", args.top_k, 0, INT32_MAX));
  RILL_RETURN_IF_ERROR(CheckBetween("sample.top_p", args.top_p, 0, 1));
  RILL_RETURN_IF_ERROR(CheckPositive("sample.top_p", args.top_p));
  RILL_RETURN_IF_ERROR(CheckBetween("sample.min_p", args.min_p, 0, 1));
  RILL_RETURN_IF_ERROR(CheckPositive("sample.repeat_penalty", args.repeat_penalty));
  RILL_RETURN_IF_ERROR(CheckFinite("sample.frequency_penalty", args.frequency_penalty));
  return CheckFinite("sample.presence_penalty", args.presence_penalty);
}

absl::Status CheckLists(const SampleArgs& args, int64_t vocab) {
  for (const TokenBias& bias : args.bias) {
    RILL_RETURN_IF_ERROR(CheckRange("sample.bias.id", bias.id, 0, vocab - 1));
    if (!(bias.value < INFINITY)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sample.bias.value: ", bias.value, " for token ", bias.id, ", expected finite or -inf"));
    }
  }
  for (const TokenCount& seen : args.window) {
    RILL_RETURN_IF_ERROR(CheckRange("sample.window.id", seen.id, 0, vocab - 1));
    RILL_RETURN_IF_ERROR(CheckRange("sample.window.count", seen.count, 1, INT32_MAX));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Check(const SampleArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("sample.logits", args.logits, DType::kF32, 1));
  const int64_t vocab = args.logits.dim[0];
  RILL_RETURN_IF_ERROR(CheckRange("sample.logits size", vocab, 1, INT32_MAX));
  RILL_RETURN_IF_ERROR(CheckParameters(args));
  RILL_RETURN_IF_ERROR(CheckLists(args, vocab));
  RILL_RETURN_IF_ERROR(
      CheckWorkspace("sample.workspace", args.workspace, SampleWorkspaceBytes(vocab)));
  RILL_RETURN_IF_ERROR(
      CheckDisjoint("sample.workspace", args.workspace, "sample.logits", args.logits));
  if (args.token == nullptr) return absl::InvalidArgumentError("sample.token: absent");
  if (args.logprob == nullptr) return absl::InvalidArgumentError("sample.logprob: absent");
  if (args.top_ids.size() != args.top_logprobs.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sample.top_logprobs: ", args.top_logprobs.size(), " places, expected ",
                     args.top_ids.size(), " as in top_ids"));
  }
  return CheckRange("sample.top_ids size", args.top_ids.size(), 0, vocab);
}

// The working logits (f32), the order of the tokens (i32), and a copy of logits for devices that
// must bring them over.
uint64_t SampleWorkspaceBytes(int64_t vocab) {
  return 3 * AlignUp(static_cast<uint64_t>(vocab) * 4, 64);
}

}  // namespace rill
