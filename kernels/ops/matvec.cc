#include "kernels/ops/matvec.h"

#include "kernels/ops/check_projections.h"

namespace rill {

absl::Status Check(const MatvecArgs& args) {
  constexpr ProjectionFields kNames = {"matvec.x", "matvec.projections",
                                       "matvec.projections.weight", "matvec.projections.out"};
  RILL_RETURN_IF_ERROR(CheckProjections(kNames, args.x, args.projections));
  return CheckRange("matvec.x rows", args.x.dim[0], 1, 1);
}

}  // namespace rill
