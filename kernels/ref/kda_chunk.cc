#include "kernels/ops/kda_chunk.h"

#include <cstring>

#include "kernels/base/status.h"
#include "kernels/ref/kda_head.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status KdaChunk(Device&, const KdaChunkArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.q.dim[0];
  const int64_t R = args.ring.k.empty() ? 0 : args.ring.k.dim[0];
  size_t next_export = 0;
  for (int64_t t = 0; t < T; ++t) {
    StepToken(args, t, t >= T - R);
    if (next_export < args.exports.size() && args.exports[next_export].after == t + 1) {
      memcpy(args.exports[next_export++].state, args.state.data, args.state.bytes());
    }
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
