#include "kernels/ops/kda_replay.h"

#include "kernels/ops/check_kda.h"

namespace rill {

absl::Status Check(const KdaReplayArgs& args) {
  KdaFields names;
  names.state = "kda_replay.state";
  names.ring_k = "kda_replay.ring.k";
  names.ring_u = "kda_replay.ring.u";
  names.ring_g = "kda_replay.ring.g";
  RILL_RETURN_IF_ERROR(CheckKdaState(names.state, args.state));
  RILL_RETURN_IF_ERROR(CheckRank(names.ring_k, args.ring.k, DType::kF32, 3));
  RILL_RETURN_IF_ERROR(CheckKdaRing(names, args.ring, args.state));
  RILL_RETURN_IF_ERROR(CheckRange("kda_replay.n", args.n, 0, args.ring.k.dim[0]));
  return CheckRange("kda_replay.position", args.position, 0, INT64_MAX - args.n);
}

}  // namespace rill
