#include "kernels/ops/mla_append.h"

#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"

namespace rill::cpu {

absl::Status MlaAppend(Device& device, const MlaAppendArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t R = args.cache.latent, P = args.cache.rope;
  const bool bf16 = args.cache.dtype == DType::kBf16;
  cpu.pool()->For(args.kv.dim[0], 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      cpu.isa().mla_row(args.kv.f32() + t * (R + P), args.weight.f32(), args.eps, R, P, bf16,
                        args.cache.row(args.position + t));
    }
  });
  return absl::OkStatus();
}

}  // namespace rill::cpu
