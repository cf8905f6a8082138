#include "kernels/ops/short_conv.h"

#include <cstring>

#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"

namespace rill::cpu {
namespace {

// Tails of channels [begin, end) after the listed token counts, from the inputs and the tail as it
// was before.
void ExportTails(const ShortConvArgs& args, int64_t begin, int64_t end) {
  const int64_t C = args.x.dim[1], n = args.weight.dim[1] - 1;
  for (const StateExport& target : args.exports) {
    float* to = static_cast<float*>(target.state);
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t j = 0; j < n; ++j) {
        const int64_t t = target.after - n + j;
        to[c * n + j] = t < 0 ? args.tail.f32()[c * n + n + t] : args.x.f32()[t * C + c];
      }
    }
  }
}

void RecordInputs(const ShortConvArgs& args, int64_t begin, int64_t end) {
  if (args.ring.empty()) return;
  const int64_t T = args.x.dim[0], C = args.x.dim[1], R = args.ring.dim[0];
  for (int64_t t = T < R ? 0 : T - R; t < T; ++t) {
    memcpy(args.ring.f32() + (args.position + t) % R * C + begin, args.x.f32() + t * C + begin,
           sizeof(float) * (end - begin));
  }
}

}  // namespace

absl::Status ShortConv(Device& device, const ShortConvArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t T = args.x.dim[0], C = args.x.dim[1], W = args.weight.dim[1];
  cpu.pool()->For(C, 256, [&](int64_t begin, int64_t end, int) {
    ExportTails(args, begin, end);
    RecordInputs(args, begin, end);
    cpu.isa().short_conv(
        {T, C, W, begin, end, args.x.f32(), args.weight.f32(), args.tail.f32(), args.out.f32()});
  });
  return absl::OkStatus();
}

}  // namespace rill::cpu
