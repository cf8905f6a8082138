#include "kernels/ops/embed.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const EmbedArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("embed.ids", args.ids, DType::kI32, 1));
  RILL_RETURN_IF_ERROR(CheckMatrix("embed.table", args.table, 0, 0));
  RILL_RETURN_IF_ERROR(CheckF32("embed.out", args.out, {args.ids.dim[0], args.table.cols}));
  return CheckDisjoint("embed.out", args.out, "embed.ids", args.ids);
}

}  // namespace rill
