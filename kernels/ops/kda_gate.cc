#include "kernels/ops/kda_gate.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const KdaGateArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("kda_gate.f", args.f, DType::kF32, 3));
  const int64_t T = args.f.dim[0], H = args.f.dim[1], K = args.f.dim[2];
  RILL_RETURN_IF_ERROR(CheckF32("kda_gate.a_log", args.a_log, {H}));
  RILL_RETURN_IF_ERROR(CheckF32("kda_gate.dt_bias", args.dt_bias, {H, K}));
  RILL_RETURN_IF_ERROR(CheckF32("kda_gate.b", args.b, {T, H}));
  RILL_RETURN_IF_ERROR(CheckF32("kda_gate.g", args.g, {T, H, K}));
  RILL_RETURN_IF_ERROR(CheckF32("kda_gate.beta", args.beta, {T, H}));
  RILL_RETURN_IF_ERROR(CheckSameOrDisjoint("kda_gate.g", args.g, "kda_gate.f", args.f));
  RILL_RETURN_IF_ERROR(CheckSameOrDisjoint("kda_gate.beta", args.beta, "kda_gate.b", args.b));
  RILL_RETURN_IF_ERROR(CheckDisjoint("kda_gate.g", args.g, "kda_gate.b", args.b));
  RILL_RETURN_IF_ERROR(CheckDisjoint("kda_gate.g", args.g, "kda_gate.beta", args.beta));
  return CheckDisjoint("kda_gate.beta", args.beta, "kda_gate.f", args.f);
}

}  // namespace rill
