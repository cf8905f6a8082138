#include "kernels/ops/router.h"

#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = 512;

// Grid (row blocks, tokens): logits.
__global__ void __launch_bounds__(kThreads) LogitsKernel(MatrixView w, const float* x, float* logits, int64_t T) {
  extern __shared__ __align__(16) char shared[];
  const int K = static_cast<int>(w.cols), E = static_cast<int>(w.rows);
  Staged staged = {reinterpret_cast<float*>(shared), nullptr};
  for (int64_t t = blockIdx.y; t < T; t += gridDim.y) {
    __syncthreads();
    Stage(staged, K, [&](int i) { return x[t * K + i]; });
    __syncthreads();
    const int stride = gridDim.x * kThreads / kLanes;
    for (int first = blockIdx.x * kThreads / kLanes; first < E; first += stride) {
      const int row = first + threadIdx.x / kLanes;
      const float y = RowDot(w, row < E ? row : E - 1, staged);
      if (row < E && threadIdx.x % kLanes == 0) logits[t * E + row] = y;
    }
  }
}

// One warp a token.
__global__ void __launch_bounds__(kWarp) ChooseKernel(Choice choice, const float* bias, float* scores, int32_t* ids, float* weights) {
  extern __shared__ float work[];
  const int64_t t = blockIdx.x;
  Choose(choice, bias, scores + t * choice.n_experts, ids + t * choice.top_k, weights + t * choice.top_k, work);
}

}  // namespace

absl::Status Router(Device& device, const RouterArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t T = args.x.dim[0], E = args.weight.rows;
  const Choice choice = {args.activation, args.top_k, args.n_groups, args.topk_groups, static_cast<int>(E), args.renormalize, args.scaling};
  const size_t bytes = StagedFloatBytes(args.weight.cols);
  RILL_RETURN_IF_ERROR(AllowShared(d, LogitsKernel, bytes, "router"));
  LogitsKernel<<<dim3(Blocks(E, kThreads / kLanes), Blocks(T, 1, 1024)), kThreads, bytes, d.stream()>>>(
      args.weight, args.x.f32(), args.scores.f32(), T);
  const size_t work = sizeof(float) * ChooseFloats(choice);
  RILL_RETURN_IF_ERROR(AllowShared(d, ChooseKernel, work, "router"));
  ChooseKernel<<<T, kWarp, work, d.stream()>>>(choice, args.bias.f32(), args.scores.f32(), args.ids.as<int32_t>(), args.weights.f32());
  return d.Launched("router");
}

}  // namespace rill::cuda
