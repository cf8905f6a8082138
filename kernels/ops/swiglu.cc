#include "kernels/ops/swiglu.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const SwigluArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("swiglu.gate", args.gate, DType::kF32, 2));
  const int64_t T = args.gate.dim[0], N = args.gate.dim[1];
  RILL_RETURN_IF_ERROR(CheckF32("swiglu.up", args.up, {T, N}));
  RILL_RETURN_IF_ERROR(CheckF32("swiglu.out", args.out, {T, N}));
  RILL_RETURN_IF_ERROR(CheckSameOrDisjoint("swiglu.out", args.out, "swiglu.gate", args.gate));
  return CheckSameOrDisjoint("swiglu.out", args.out, "swiglu.up", args.up);
}

}  // namespace rill
