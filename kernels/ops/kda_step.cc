#include "kernels/ops/kda_step.h"

#include "kernels/ops/check_kda.h"

namespace rill {

absl::Status Check(const KdaStepArgs& args) {
  constexpr KdaFields kNames = {"kda_step.scale",  "kda_step.q",      "kda_step.k",
                                "kda_step.v",      "kda_step.g",      "kda_step.beta",
                                "kda_step.state",  "kda_step.out",    "kda_step.ring.k",
                                "kda_step.ring.u", "kda_step.ring.g", "kda_step.position"};
  RILL_RETURN_IF_ERROR(CheckKdaTokens(kNames, args));
  return CheckRange("kda_step.q tokens", args.q.dim[0], 1, 1);
}

}  // namespace rill
