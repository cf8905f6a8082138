#include "kernels/ops/short_conv.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/table.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxTaps = 8;

struct Conv {
  const float* x;
  const float* weight;
  const float* tail;
  float* out;
  float* ring;
  int64_t T, R, position;
  int C, W;
};

// Input of channel c at time t of the call; below 0 lies the tail.
__device__ float InputAt(const Conv& conv, int64_t t, int c) {
  return t >= 0 ? conv.x[t * conv.C + c] : conv.tail[c * (conv.W - 1) + conv.W - 1 + t];
}

// Every input is read before the output, which may be the input when T is 1.
__global__ void ConvKernel(Conv conv) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= conv.C) return;
  for (int64_t t = blockIdx.y; t < conv.T; t += gridDim.y) {
    float y = 0;
    for (int j = 0; j < conv.W; ++j) y = __fadd_rn(y, __fmul_rn(conv.weight[c * conv.W + j], InputAt(conv, t - conv.W + 1 + j, c)));
    if (t >= conv.T - conv.R) conv.ring[(conv.position + t) % conv.R * conv.C + c] = conv.x[t * conv.C + c];
    conv.out[t * conv.C + c] = Silu(y);
  }
}

// The W - 1 inputs before time `after`, into `target`, which may be the tail itself.
__global__ void TailKernel(Conv conv, int64_t after, float* target) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= conv.C) return;
  float kept[kMaxTaps - 1];
#pragma unroll
  for (int j = 0; j < kMaxTaps - 1; ++j) {
    if (j < conv.W - 1) kept[j] = InputAt(conv, after - conv.W + 1 + j, c);
  }
#pragma unroll
  for (int j = 0; j < kMaxTaps - 1; ++j) {
    if (j < conv.W - 1) target[c * (conv.W - 1) + j] = kept[j];
  }
}

// One token: output and tail by the same thread, because the output may lie on the input.
__global__ void ConvStepKernel(Conv conv, float* tail) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= conv.C) return;
  const float x = conv.x[c];
  float y = 0;
  for (int j = 0; j < conv.W - 1; ++j) y = __fadd_rn(y, __fmul_rn(conv.weight[c * conv.W + j], tail[c * (conv.W - 1) + j]));
  y = __fadd_rn(y, __fmul_rn(conv.weight[c * conv.W + conv.W - 1], x));
  for (int j = 0; j + 1 < conv.W - 1; ++j) tail[c * (conv.W - 1) + j] = tail[c * (conv.W - 1) + j + 1];
  tail[c * (conv.W - 1) + conv.W - 2] = x;
  if (conv.R > 0) conv.ring[conv.position % conv.R * conv.C + c] = x;
  conv.out[c] = Silu(y);
}

}  // namespace

absl::Status ShortConv(Device& device, const ShortConvArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const Conv conv = {args.x.f32(),   args.weight.f32(), args.tail.f32(), args.out.f32(), args.ring.f32(), args.x.dim[0],
                     args.ring.empty() ? 0 : args.ring.dim[0], args.position, static_cast<int>(args.x.dim[1]),
                     static_cast<int>(args.weight.dim[1])};
  const unsigned blocks = Blocks(conv.C, kThreads);
  if (conv.T == 1) {
    ConvStepKernel<<<blocks, kThreads, 0, d.stream()>>>(conv, args.tail.f32());
    if (!args.exports.empty()) {
      RILL_RETURN_IF_ERROR(d.CopyOn(args.exports[0].state, args.tail.data, args.tail.bytes()));
    }
    return d.Launched("short_conv");
  }
  ConvKernel<<<dim3(blocks, Blocks(conv.T, 1, 1024)), kThreads, 0, d.stream()>>>(conv);
  for (const StateExport& x : args.exports) {
    TailKernel<<<blocks, kThreads, 0, d.stream()>>>(conv, x.after, static_cast<float*>(x.state));
  }
  TailKernel<<<blocks, kThreads, 0, d.stream()>>>(conv, conv.T, args.tail.f32());
  return d.Launched("short_conv");
}

}  // namespace rill::cuda
