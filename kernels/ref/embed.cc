#include "kernels/ops/embed.h"

#include "kernels/base/status.h"
#include "kernels/ops/quantize.h"
#include "kernels/ref/table.h"

namespace rill::ref {

absl::Status Embed(Device&, const EmbedArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.ids.dim[0], D = args.table.cols;
  const int32_t* ids = args.ids.as<int32_t>();
  for (int64_t t = 0; t < T; ++t) DequantizeRow(args.table, ids[t], args.out.f32() + t * D);
  return absl::OkStatus();
}

}  // namespace rill::ref
