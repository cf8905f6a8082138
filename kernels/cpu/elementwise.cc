// The operators that go through their elements once: add, swiglu, the norms, the KDA gate, the
// embedding.
#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/weights.h"
#include "kernels/ops/add.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/swiglu.h"

namespace rill::cpu {
namespace {

// Waking a thread costs about as much as this many elements.
constexpr int64_t kElements = 8 * 1024;

// f(row) for n rows of `width` elements.
template <typename F>
void ForRows(CpuDevice& device, int64_t n, int64_t width, F&& f) {
  device.pool()->For(n, CeilDiv(kElements, width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) f(row);
  });
}

}  // namespace

absl::Status Embed(Device& device, const EmbedArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const Weights table = MakeWeights(args.table);
  ForRows(cpu, args.ids.dim[0], table.cols, [&](int64_t t) {
    cpu.isa().decode_row(table, args.ids.as<int32_t>()[t], args.out.f32() + t * table.cols);
  });
  return absl::OkStatus();
}

absl::Status Add(Device& device, const AddArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  cpu.pool()->For(args.x.size(), kElements, [&](int64_t begin, int64_t end, int) {
    cpu.isa().add(args.x.f32() + begin, args.y.f32() + begin, end - begin);
  });
  return absl::OkStatus();
}

absl::Status Swiglu(Device& device, const SwigluArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  cpu.pool()->For(args.out.size(), kElements, [&](int64_t begin, int64_t end, int) {
    cpu.isa().swiglu(args.gate.f32() + begin, args.up.f32() + begin, end - begin,
                     args.out.f32() + begin);
  });
  return absl::OkStatus();
}

absl::Status RmsNorm(Device& device, const RmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t D = args.x.dim[1];
  ForRows(cpu, args.x.dim[0], D, [&](int64_t t) {
    cpu.isa().rms_norm(args.x.f32() + t * D, args.weight.f32(), args.eps, D,
                       args.out.f32() + t * D);
  });
  return absl::OkStatus();
}

absl::Status L2Norm(Device& device, const L2NormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t K = args.x.dim[2];
  ForRows(cpu, args.x.dim[0] * args.x.dim[1], K, [&](int64_t row) {
    cpu.isa().l2_norm(args.x.f32() + row * K, args.eps, K, args.out.f32() + row * K);
  });
  return absl::OkStatus();
}

absl::Status GatedRmsNorm(Device& device, const GatedRmsNormArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t V = args.x.dim[2];
  ForRows(cpu, args.x.dim[0] * args.x.dim[1], V, [&](int64_t row) {
    cpu.isa().gated_rms_norm(args.x.f32() + row * V, args.gate.f32() + row * V, args.weight.f32(),
                             args.eps, V, args.out.f32() + row * V);
  });
  return absl::OkStatus();
}

absl::Status KdaGate(Device& device, const KdaGateArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t H = args.f.dim[1], K = args.f.dim[2];
  ForRows(cpu, args.f.dim[0] * H, K, [&](int64_t row) {
    const int64_t h = row % H;
    cpu.isa().kda_decay(args.f.f32() + row * K, args.dt_bias.f32() + h * K, args.a_log.f32()[h], K,
                        args.g.f32() + row * K);
  });
  cpu.isa().sigmoid(args.b.f32(), args.b.size(), args.beta.f32());
  return absl::OkStatus();
}

}  // namespace rill::cpu
