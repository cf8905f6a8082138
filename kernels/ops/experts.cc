#include "kernels/ops/experts.h"

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {
namespace {

absl::Status CheckView(const ExpertsView& experts, int64_t top_k) {
  if (experts.record == nullptr)
    return absl::InvalidArgumentError("experts.experts: record table absent");
  if (experts.format > WeightFormat::kQ4) {
    return absl::InvalidArgumentError(
        absl::StrCat("experts.experts: unknown format ", static_cast<int>(experts.format)));
  }
  RILL_RETURN_IF_ERROR(CheckRange("experts.experts.n_experts", experts.n_experts, 1, INT32_MAX));
  RILL_RETURN_IF_ERROR(CheckRange("experts.experts.hidden", experts.hidden, 1, INT32_MAX));
  RILL_RETURN_IF_ERROR(CheckRange("experts.experts.width", experts.width, 1, INT32_MAX));
  return CheckRange("experts.ids per token", top_k, 1, experts.n_experts);
}

}  // namespace

absl::Status Check(const ExpertsArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("experts.ids", args.ids, DType::kI32, 2));
  const int64_t T = args.ids.dim[0], top_k = args.ids.dim[1];
  const ExpertsView& experts = args.experts;
  RILL_RETURN_IF_ERROR(CheckView(experts, top_k));
  RILL_RETURN_IF_ERROR(CheckF32("experts.x", args.x, {T, experts.hidden}));
  RILL_RETURN_IF_ERROR(CheckF32("experts.weights", args.weights, {T, top_k}));
  RILL_RETURN_IF_ERROR(CheckF32("experts.out", args.out, {T, experts.hidden}));
  RILL_RETURN_IF_ERROR(CheckDisjoint("experts.out", args.out, "experts.x", args.x));
  RILL_RETURN_IF_ERROR(CheckDisjoint("experts.out", args.out, "experts.ids", args.ids));
  RILL_RETURN_IF_ERROR(CheckDisjoint("experts.out", args.out, "experts.weights", args.weights));
  RILL_RETURN_IF_ERROR(
      CheckWorkspace("experts.workspace", args.workspace,
                     ExpertsWorkspaceBytes(T, static_cast<int>(top_k), experts.n_experts,
                                           experts.hidden, experts.width)));
  RILL_RETURN_IF_ERROR(CheckDisjoint("experts.workspace", args.workspace, "experts.x", args.x));
  return CheckDisjoint("experts.workspace", args.workspace, "experts.out", args.out);
}

// For the T * top_k rows of (token, expert): gate and up (width each) and the expert's answer
// (hidden), float32, each plane on a 64-byte boundary; then the rows sorted by expert and where
// each expert's run begins, i32.
uint64_t ExpertsWorkspaceBytes(int64_t n_tokens, int top_k, int n_experts, int64_t hidden,
                               int64_t width) {
  const uint64_t rows = static_cast<uint64_t>(n_tokens) * top_k;
  const uint64_t wide = AlignUp(rows * width * sizeof(float), 64);
  const uint64_t answer = AlignUp(rows * hidden * sizeof(float), 64);
  const uint64_t sorted = AlignUp(rows * sizeof(int32_t), 64);
  const uint64_t begins = AlignUp((static_cast<uint64_t>(n_experts) + 1) * sizeof(int32_t), 64);
  return 2 * wide + answer + sorted + begins;
}

}  // namespace rill
