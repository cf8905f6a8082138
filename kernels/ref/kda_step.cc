#include "kernels/ops/kda_step.h"

#include "kernels/base/status.h"
#include "kernels/ref/kda_head.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status KdaStep(Device&, const KdaStepArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  StepToken(args, 0, !args.ring.k.empty());
  return absl::OkStatus();
}

}  // namespace rill::ref
