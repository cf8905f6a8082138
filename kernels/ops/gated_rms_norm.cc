#include "kernels/ops/gated_rms_norm.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const GatedRmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(CheckPositive("gated_rms_norm.eps", args.eps));
  RILL_RETURN_IF_ERROR(CheckRank("gated_rms_norm.x", args.x, DType::kF32, 3));
  const int64_t T = args.x.dim[0], H = args.x.dim[1], V = args.x.dim[2];
  RILL_RETURN_IF_ERROR(CheckF32("gated_rms_norm.gate", args.gate, {T, H, V}));
  RILL_RETURN_IF_ERROR(CheckF32("gated_rms_norm.weight", args.weight, {V}));
  RILL_RETURN_IF_ERROR(CheckF32("gated_rms_norm.out", args.out, {T, H, V}));
  RILL_RETURN_IF_ERROR(
      CheckSameOrDisjoint("gated_rms_norm.out", args.out, "gated_rms_norm.x", args.x));
  RILL_RETURN_IF_ERROR(
      CheckDisjoint("gated_rms_norm.out", args.out, "gated_rms_norm.gate", args.gate));
  return CheckDisjoint("gated_rms_norm.out", args.out, "gated_rms_norm.weight", args.weight);
}

}  // namespace rill
