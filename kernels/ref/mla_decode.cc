#include "kernels/ops/mla_decode.h"

#include "kernels/base/status.h"
#include "kernels/ref/mla_row.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status MlaDecode(Device&, const MlaDecodeArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  AttendRow({args.shape, args.scale, args.q.f32(), args.kv_b, args.cache, args.length,
             args.out.f32(), args.workspace.f32()});
  return absl::OkStatus();
}

}  // namespace rill::ref
