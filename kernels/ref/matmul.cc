#include "kernels/ops/matmul.h"

#include "kernels/base/status.h"
#include "kernels/ref/project_row.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Matmul(Device&, const MatmulArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  for (int64_t t = 0; t < args.x.dim[0]; ++t)
    ProjectRow(args.x, args.projections, args.accumulate, t);
  return absl::OkStatus();
}

}  // namespace rill::ref
