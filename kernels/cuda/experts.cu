// experts: rows of (token, expert) are sorted by expert on the device, one grouped product for gate and up, one for down,
// then every token adds its own answers in the order of its choices. A single token skips the sorting.
#include "kernels/ops/experts.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/tile_product.cuh"

namespace rill::cuda {
namespace {

constexpr int kThreads = 512;

struct Work {
  float* activated;  // [rows, width]
  float* answer;     // [rows, hidden]
  int32_t* sorted;   // [rows] row numbers (token * top_k + choice) by expert
  int32_t* begins;   // [n_experts + 1]
};

Work Place(const ExpertsArgs& args) {
  const uint64_t rows = args.ids.size();
  const uint64_t wide = AlignUp(rows * args.experts.width * sizeof(float), 64);
  char* p = args.workspace.as<char>();
  Work work = {};
  work.activated = reinterpret_cast<float*>(p);
  work.answer = reinterpret_cast<float*>(p + 2 * wide);
  work.sorted = reinterpret_cast<int32_t*>(p + 2 * wide + AlignUp(rows * args.experts.hidden * sizeof(float), 64));
  work.begins = work.sorted + AlignUp(rows * sizeof(int32_t), 64) / sizeof(int32_t);
  return work;
}

// One block, one warp an expert: rows keep their order, so the result does not depend on timing.
__global__ void __launch_bounds__(1024) SortKernel(const int32_t* ids, int rows, int n_experts, Work work) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, n_warps = blockDim.x / kWarp;
  for (int e = warp; e < n_experts; e += n_warps) {
    int count = 0;
    for (int i = lane; i < rows; i += kWarp) count += ids[i] == e;
    count = __reduce_add_sync(0xffffffffu, count);
    if (lane == 0) work.begins[e + 1] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    work.begins[0] = 0;
    for (int e = 0; e < n_experts; ++e) work.begins[e + 1] += work.begins[e];
  }
  __syncthreads();
  for (int e = warp; e < n_experts; e += n_warps) {
    int next = work.begins[e];
    for (int first = 0; first < rows; first += kWarp) {
      const bool mine = first + lane < rows && ids[first + lane] == e;
      const unsigned all = __ballot_sync(0xffffffffu, mine);
      if (mine) work.sorted[next + __popc(all & ((1u << lane) - 1))] = first + lane;
      next += __popc(all);
    }
  }
}

// Grid (column tiles, experts). kDown: answer = Down activated; else activated = silu(Gate x) * (Up x).
template <bool kDown>
__global__ void __launch_bounds__(kProductThreads) GroupedKernel(ExpertsView experts, const float* x, int top_k, Work work) {
  __shared__ ProductShared shared;
  const int e = blockIdx.y, n0 = blockIdx.x * kProductTile;
  const int begin = work.begins[e], end = work.begins[e + 1];
  const int K = static_cast<int>(kDown ? experts.width : experts.hidden);
  const int N = static_cast<int>(kDown ? experts.hidden : experts.width);
  for (int first = begin; first < end; first += kProductTile) {
    const auto row_of = [&](int i) -> const float* {
      if (first + i >= end) return nullptr;
      const int64_t row = work.sorted[first + i];
      return kDown ? work.activated + row * K : x + row / top_k * K;
    };
    float a[4][4] = {}, b[4][4] = {};
    TileProduct(kDown ? ExpertMatrix(experts, e, ExpertPart::kDown) : ExpertMatrix(experts, e, ExpertPart::kGate), n0, row_of, shared, a);
    if (!kDown) TileProduct(ExpertMatrix(experts, e, ExpertPart::kUp), n0, row_of, shared, b);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = first + 4 * (threadIdx.x / 16) + i;
      if (r >= end) continue;
      float* out = (kDown ? work.answer : work.activated) + static_cast<int64_t>(work.sorted[r]) * N;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int n = n0 + 4 * (threadIdx.x % 16) + j;
        if (n < N) out[n] = kDown ? a[i][j] : Silu(a[i][j]) * b[i][j];
      }
    }
  }
}

__global__ void SumKernel(const float* answer, const float* weights, float* out, int64_t T, int top_k, int D, bool accumulate) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < T * D; i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t t = i / D;
    float sum = 0;
    for (int j = 0; j < top_k; ++j) sum = fmaf(weights[t * top_k + j], answer[(t * top_k + j) * D + i % D], sum);
    out[i] = accumulate ? out[i] + sum : sum;
  }
}

// One token. Grid (row blocks, top_k).
template <bool kDown>
__global__ void __launch_bounds__(kThreads) StepKernel(ExpertsView experts, const float* x, const int32_t* ids, Work work) {
  extern __shared__ __align__(16) char shared[];
  const int j = blockIdx.y, e = ids[j];
  const int K = static_cast<int>(kDown ? experts.width : experts.hidden);
  const int N = static_cast<int>(kDown ? experts.hidden : experts.width);
  Staged staged = PlaceStaged(shared, K);
  if (IsQuantized(experts.format)) staged.f = nullptr;
  else staged.q = nullptr;
  const float* row = kDown ? work.activated + int64_t{j} * K : x;
  Stage(staged, K, [&](int i) { return row[i]; });
  __syncthreads();
  const MatrixView a = kDown ? ExpertMatrix(experts, e, ExpertPart::kDown) : ExpertMatrix(experts, e, ExpertPart::kGate), b = ExpertMatrix(experts, e, ExpertPart::kUp);
  for (int first = blockIdx.x * kThreads / kLanes; first < N; first += gridDim.x * kThreads / kLanes) {
    const int n = first + threadIdx.x / kLanes, safe = n < N ? n : N - 1;
    const float y = kDown ? RowDot(a, safe, staged) : GluDot(a, b, safe, staged);
    if (n < N && threadIdx.x % kLanes == 0) (kDown ? work.answer : work.activated)[int64_t{j} * N + n] = y;
  }
}

absl::Status Step(CudaDevice& d, const ExpertsArgs& args, const Work& work) {
  const ExpertsView& experts = args.experts;
  const unsigned top_k = args.ids.dim[1];
  const size_t wide = StagedBytes(experts.hidden), narrow = StagedBytes(experts.width);
  RILL_RETURN_IF_ERROR(AllowShared(d, StepKernel<false>, wide, "experts"));
  RILL_RETURN_IF_ERROR(AllowShared(d, StepKernel<true>, narrow, "experts"));
  const int32_t* ids = args.ids.as<int32_t>();
  StepKernel<false><<<dim3(Blocks(experts.width, kThreads / kLanes), top_k), kThreads, wide, d.stream()>>>(experts, args.x.f32(), ids, work);
  StepKernel<true><<<dim3(Blocks(experts.hidden, kThreads / kLanes), top_k), kThreads, narrow, d.stream()>>>(experts, args.x.f32(), ids, work);
  return absl::OkStatus();
}

void Grouped(CudaDevice& d, const ExpertsArgs& args, const Work& work) {
  const ExpertsView& experts = args.experts;
  const int top_k = static_cast<int>(args.ids.dim[1]);
  const unsigned E = experts.n_experts;
  SortKernel<<<1, 1024, 0, d.stream()>>>(args.ids.as<int32_t>(), static_cast<int>(args.ids.size()), E, work);
  GroupedKernel<false><<<dim3(CeilDiv(experts.width, kProductTile), E), kProductThreads, 0, d.stream()>>>(experts, args.x.f32(), top_k, work);
  GroupedKernel<true><<<dim3(CeilDiv(experts.hidden, kProductTile), E), kProductThreads, 0, d.stream()>>>(experts, args.x.f32(), top_k, work);
}

}  // namespace

absl::Status Experts(Device& device, const ExpertsArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const Work work = Place(args);
  const int64_t T = args.x.dim[0];
  if (T == 1) {
    RILL_RETURN_IF_ERROR(Step(d, args, work));
  } else {
    Grouped(d, args, work);
  }
  SumKernel<<<Blocks(args.out.size(), 256), 256, 0, d.stream()>>>(work.answer, args.weights.f32(), args.out.f32(), T,
                                                                static_cast<int>(args.ids.dim[1]),
                                                                static_cast<int>(args.experts.hidden), args.accumulate);
  return d.Launched("experts");
}

}  // namespace rill::cuda
