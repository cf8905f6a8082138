#include "model/layers/moe.h"

#include "kernels/base/status.h"
#include "kernels/ops/add.h"
#include "kernels/ops/experts.h"
#include "kernels/ops/router.h"

namespace rill {

MoeBuffers MoeBuffers::Take(Scratch& s, const ModelConfig& c, int64_t T) {
  MoeBuffers b;
  b.scores = s.F32(T, c.n_experts);
  b.ids = s.Take(DType::kI32, T, c.experts_per_token);
  b.weights = s.F32(T, c.experts_per_token);
  b.sum = s.F32(T, c.hidden_size);
  b.workspace = s.Bytes(ExpertsWorkspaceBytes(T, static_cast<int>(c.experts_per_token), static_cast<int>(c.n_experts),
                                              c.hidden_size, c.expert_width));
  if (c.n_shared_experts > 0) b.shared = GluBuffers::Take(s, c.n_shared_experts * c.expert_width, T);
  return b;
}

absl::Status MoeForward(const Pass& pass, const MoeWeights& w, const MoeBuffers& b, const TensorView& a,
                        const TensorView& x) {
  RILL_RETURN_IF_ERROR(pass.ops().router(
      pass.device, RouterArgs{w.activation, w.top_k, w.n_groups, w.topk_groups, w.renormalize, w.scaling, a, w.router,
                              w.router_bias, b.scores, b.ids, b.weights}));
  RILL_RETURN_IF_ERROR(pass.ops().experts(
      pass.device, ExpertsArgs{a, b.ids, b.weights, w.experts, /*accumulate=*/false, b.sum, b.workspace}));
  if (w.shared.width > 0) RILL_RETURN_IF_ERROR(GluForward(pass, w.shared, b.shared, a, b.sum));
  return pass.ops().add(pass.device, AddArgs{x, b.sum});
}

}  // namespace rill
