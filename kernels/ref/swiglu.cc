#include "kernels/ops/swiglu.h"

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Swiglu(Device&, const SwigluArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const float *gate = args.gate.f32(), *up = args.up.f32();
  float* out = args.out.f32();
  for (int64_t i = 0; i < args.gate.size(); ++i) out[i] = Silu(gate[i]) * up[i];
  return absl::OkStatus();
}

}  // namespace rill::ref
