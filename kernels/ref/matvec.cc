#include "kernels/ops/matvec.h"

#include "kernels/base/status.h"
#include "kernels/ref/project_row.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Matvec(Device&, const MatvecArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  ProjectRow(args.x, args.projections, args.accumulate, 0);
  return absl::OkStatus();
}

}  // namespace rill::ref
