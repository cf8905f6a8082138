#include "model/layers/glu.h"

#include "kernels/base/status.h"
#include "kernels/ops/swiglu.h"

namespace rill {

GluBuffers GluBuffers::Take(Scratch& s, int64_t width, int64_t T) {
  GluBuffers b;
  b.gate = s.F32(T, width), b.up = s.F32(T, width);
  return b;
}

absl::Status GluForward(const Pass& pass, const GluWeights& w, const GluBuffers& b, const TensorView& a,
                        const TensorView& out) {
  RILL_RETURN_IF_ERROR(pass.Project(a, {{w.gate, b.gate}, {w.up, b.up}}));
  RILL_RETURN_IF_ERROR(pass.ops().swiglu(pass.device, SwigluArgs{b.gate, b.up, b.gate}));
  return pass.Project(b.gate, {{w.down, out}}, /*accumulate=*/true);
}

}  // namespace rill
