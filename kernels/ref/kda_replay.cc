#include "kernels/ops/kda_replay.h"

#include "kernels/base/status.h"
#include "kernels/ref/kda_head.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status KdaReplay(Device&, const KdaReplayArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t R = args.ring.k.dim[0];
  const int64_t H = args.state.dim[0], K = args.state.dim[1], V = args.state.dim[2];
  for (int64_t t = args.position; t < args.position + args.n; ++t) {
    for (int64_t h = 0; h < H; ++h) {
      const int64_t row = t % R * H + h;
      Advance(args.ring.k.f32() + row * K, args.ring.u.f32() + row * V, args.ring.g.f32() + row * K,
              K, V, args.state.f32() + h * K * V);
    }
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
