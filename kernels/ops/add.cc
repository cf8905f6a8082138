#include "kernels/ops/add.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const AddArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("add.x", args.x, DType::kF32, 2));
  RILL_RETURN_IF_ERROR(CheckF32("add.y", args.y, {args.x.dim[0], args.x.dim[1]}));
  return CheckDisjoint("add.y", args.y, "add.x", args.x);
}

}  // namespace rill
