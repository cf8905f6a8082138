#include "kernels/ops/matmul.h"

#include "kernels/ops/check_projections.h"

namespace rill {

absl::Status Check(const MatmulArgs& args) {
  constexpr ProjectionFields kNames = {"matmul.x", "matmul.projections",
                                       "matmul.projections.weight", "matmul.projections.out"};
  return CheckProjections(kNames, args.x, args.projections);
}

}  // namespace rill
