#include "kernels/ops/add.h"

#include "kernels/base/status.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Add(Device&, const AddArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  float* x = args.x.f32();
  const float* y = args.y.f32();
  for (int64_t i = 0; i < args.x.size(); ++i) x[i] += y[i];
  return absl::OkStatus();
}

}  // namespace rill::ref
