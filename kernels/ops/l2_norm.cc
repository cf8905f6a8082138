#include "kernels/ops/l2_norm.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const L2NormArgs& args) {
  RILL_RETURN_IF_ERROR(CheckPositive("l2_norm.eps", args.eps));
  RILL_RETURN_IF_ERROR(CheckRank("l2_norm.x", args.x, DType::kF32, 3));
  RILL_RETURN_IF_ERROR(
      CheckF32("l2_norm.out", args.out, {args.x.dim[0], args.x.dim[1], args.x.dim[2]}));
  return CheckSameOrDisjoint("l2_norm.out", args.out, "l2_norm.x", args.x);
}

}  // namespace rill
