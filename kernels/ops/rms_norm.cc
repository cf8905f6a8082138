#include "kernels/ops/rms_norm.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const RmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(CheckPositive("rms_norm.eps", args.eps));
  RILL_RETURN_IF_ERROR(CheckRank("rms_norm.x", args.x, DType::kF32, 2));
  RILL_RETURN_IF_ERROR(CheckF32("rms_norm.weight", args.weight, {args.x.dim[1]}));
  RILL_RETURN_IF_ERROR(CheckF32("rms_norm.out", args.out, {args.x.dim[0], args.x.dim[1]}));
  RILL_RETURN_IF_ERROR(CheckSameOrDisjoint("rms_norm.out", args.out, "rms_norm.x", args.x));
  return CheckDisjoint("rms_norm.out", args.out, "rms_norm.weight", args.weight);
}

}  // namespace rill
