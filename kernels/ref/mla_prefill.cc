#include "kernels/ops/mla_prefill.h"

#include "kernels/base/status.h"
#include "kernels/ref/mla_row.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status MlaPrefill(Device&, const MlaPrefillArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t q_row = args.q.dim[1] * args.q.dim[2], out_row = args.out.dim[1] * args.out.dim[2];
  for (int64_t t = 0; t < args.q.dim[0]; ++t) {
    AttendRow({args.shape, args.scale, args.q.f32() + t * q_row, args.kv_b, args.cache,
               args.position + t + 1, args.out.f32() + t * out_row, args.workspace.f32()});
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
