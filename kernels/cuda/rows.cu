// Operators that work element by element or row by row.
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/ops/add.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/swiglu.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void EmbedKernel(const int32_t* ids, MatrixView table, float* out) {
  const int64_t t = blockIdx.x;
  for (int d = threadIdx.x; d < table.cols; d += blockDim.x) out[t * table.cols + d] = WeightAt(table, ids[t], d);
}

__global__ void AddKernel(float* x, const float* y, int64_t n) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) x[i] += y[i];
}

__global__ void SwigluKernel(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) {
    out[i] = Silu(gate[i]) * up[i];
  }
}

// One block a row. `mean` divides the sum by D; a gate is optional, and so is a weight. In place is fine: a thread
// writes only what it alone reads after the barrier.
__global__ void NormKernel(const float* x, const float* weight, const float* gate, float* out, int D, float eps, bool mean) {
  __shared__ float scratch[kMaxWarps];
  const int64_t row = blockIdx.x * int64_t{D};
  float sum = 0;
  for (int d = threadIdx.x; d < D; d += blockDim.x) sum = fmaf(x[row + d], x[row + d], sum);
  sum = BlockSum(sum, scratch);
  const float root = sqrtf((mean ? sum / static_cast<float>(D) : sum) + eps);
  for (int d = threadIdx.x; d < D; d += blockDim.x) {
    float value = x[row + d] / root;
    if (weight != nullptr) value *= weight[d];
    if (gate != nullptr) value *= Sigmoid(gate[row + d]);
    out[row + d] = value;
  }
}

__global__ void KdaGateKernel(const float* f, const float* a_log, const float* dt_bias, const float* b, float* g,
                              float* beta, int64_t T, int H, int K) {
  const int64_t n = T * H * K;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += stride) {
    const int channel = static_cast<int>(i % (H * K));
    g[i] = -expf(a_log[channel / K]) * Softplus(f[i] + dt_bias[channel]);
  }
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < T * H; i += stride) beta[i] = Sigmoid(b[i]);
}

int NormThreads(int64_t D) { return static_cast<int>(std::clamp<int64_t>(AlignUp(D, 32), 32, 512)); }

}  // namespace

absl::Status Embed(Device& device, const EmbedArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  EmbedKernel<<<args.ids.dim[0], kThreads, 0, d.stream()>>>(args.ids.as<int32_t>(), args.table, args.out.f32());
  return d.Launched("embed");
}

absl::Status Add(Device& device, const AddArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  AddKernel<<<Blocks(args.x.size(), kThreads), kThreads, 0, d.stream()>>>(args.x.f32(), args.y.f32(), args.x.size());
  return d.Launched("add");
}

absl::Status Swiglu(Device& device, const SwigluArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  SwigluKernel<<<Blocks(args.out.size(), kThreads), kThreads, 0, d.stream()>>>(args.gate.f32(), args.up.f32(),
                                                                             args.out.f32(), args.out.size());
  return d.Launched("swiglu");
}

absl::Status RmsNorm(Device& device, const RmsNormArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t D = args.x.dim[1];
  NormKernel<<<args.x.dim[0], NormThreads(D), 0, d.stream()>>>(args.x.f32(), args.weight.f32(), nullptr, args.out.f32(),
                                                               D, args.eps, true);
  return d.Launched("rms_norm");
}

absl::Status GatedRmsNorm(Device& device, const GatedRmsNormArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t V = args.x.dim[2];
  NormKernel<<<args.x.dim[0] * args.x.dim[1], NormThreads(V), 0, d.stream()>>>(
      args.x.f32(), args.weight.f32(), args.gate.f32(), args.out.f32(), V, args.eps, true);
  return d.Launched("gated_rms_norm");
}

absl::Status L2Norm(Device& device, const L2NormArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t K = args.x.dim[2];
  NormKernel<<<args.x.dim[0] * args.x.dim[1], NormThreads(K), 0, d.stream()>>>(args.x.f32(), nullptr, nullptr,
                                                                               args.out.f32(), K, args.eps, false);
  return d.Launched("l2_norm");
}

absl::Status KdaGate(Device& device, const KdaGateArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t T = args.f.dim[0], H = args.f.dim[1], K = args.f.dim[2];
  KdaGateKernel<<<Blocks(args.f.size(), kThreads), kThreads, 0, d.stream()>>>(
      args.f.f32(), args.a_log.f32(), args.dt_bias.f32(), args.b.f32(), args.g.f32(), args.beta.f32(), T, H, K);
  return d.Launched("kda_gate");
}

}  // namespace rill::cuda
