#include "kernels/ops/router.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {
namespace {

absl::Status CheckChoice(const RouterArgs& args, int64_t E) {
  if (args.activation != RouterActivation::kSigmoid &&
      args.activation != RouterActivation::kSoftmax) {
    return absl::InvalidArgumentError(
        absl::StrCat("router.activation: unknown value ", static_cast<int>(args.activation)));
  }
  RILL_RETURN_IF_ERROR(CheckRange("router.n_groups", args.n_groups, 1, E));
  if (E % args.n_groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("router.n_groups: ", args.n_groups, " does not divide ", E));
  }
  RILL_RETURN_IF_ERROR(CheckRange("router.topk_groups", args.topk_groups, 1, args.n_groups));
  RILL_RETURN_IF_ERROR(
      CheckRange("router.top_k", args.top_k, 1, args.topk_groups * (E / args.n_groups)));
  return CheckFinite("router.scaling", args.scaling);
}

}  // namespace

absl::Status Check(const RouterArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("router.x", args.x, DType::kF32, 2));
  const int64_t T = args.x.dim[0];
  RILL_RETURN_IF_ERROR(CheckMatrix("router.weight", args.weight, 0, args.x.dim[1]));
  const int64_t E = args.weight.rows;
  if (IsQuantized(args.weight.format)) {
    return absl::InvalidArgumentError("router.weight: quantized, expected f32 or bf16");
  }
  RILL_RETURN_IF_ERROR(CheckChoice(args, E));
  if (!args.bias.empty()) RILL_RETURN_IF_ERROR(CheckF32("router.bias", args.bias, {E}));
  RILL_RETURN_IF_ERROR(CheckF32("router.scores", args.scores, {T, E}));
  RILL_RETURN_IF_ERROR(CheckShape("router.ids", args.ids, DType::kI32, {T, args.top_k}));
  RILL_RETURN_IF_ERROR(CheckF32("router.weights", args.weights, {T, args.top_k}));
  RILL_RETURN_IF_ERROR(CheckDisjoint("router.scores", args.scores, "router.x", args.x));
  RILL_RETURN_IF_ERROR(CheckDisjoint("router.ids", args.ids, "router.scores", args.scores));
  RILL_RETURN_IF_ERROR(CheckDisjoint("router.weights", args.weights, "router.scores", args.scores));
  return CheckDisjoint("router.weights", args.weights, "router.ids", args.ids);
}

}  // namespace rill
