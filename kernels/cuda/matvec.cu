// matvec: a block stages the row once, then its warps take pairs of output rows.
#include "kernels/ops/matvec.h"

#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kMost = 16;

struct Projections {
  MatrixView weight[kMost];
  float* out[kMost];
  int64_t end[kMost];  // units of kRowsPerWarp rows up to and with this matrix
  int count;
  bool accumulate, needs_f, needs_q, all_q4;
};

__global__ void __launch_bounds__(kThreads) MatvecKernel(const __grid_constant__ Projections p, const float* x, int K) {
  extern __shared__ __align__(16) char shared[];
  Staged staged = PlaceStaged(shared, p.needs_f ? K : 0);
  if (!p.needs_f) staged.f = nullptr;
  if (!p.needs_q) staged.q = nullptr;
  Stage(staged, K, [&](int i) { return x[i]; });
  __syncthreads();
  const int first = threadIdx.x / kWarp * gridDim.x + blockIdx.x, stride = gridDim.x * (kThreads / kWarp);
  const int end = static_cast<int>(p.end[p.count - 1]);
  const auto write = [&](int i, int row, float y) {
    if (row < p.weight[i].rows && threadIdx.x % kLanes == 0) p.out[i][row] = p.accumulate ? p.out[i][row] + y : y;
  };
  const auto find = [&](int unit, int* row) {
    int i = 0;
    while (unit >= p.end[i]) ++i;
    *row = (unit - static_cast<int>(i == 0 ? 0 : p.end[i - 1])) * kRowsPerWarp + threadIdx.x % kWarp / kLanes;
    return i;
  };
  int row;
  if (p.all_q4) {
    Q4Stream<kLanes, 1> stream;
    const auto row_at = [&](int unit, int) {
      const int i = find(unit, &row);
      return Q4RowOf(p.weight[i], min(row, static_cast<int>(p.weight[i].rows) - 1));
    };
    stream.Start(first, end, stride, K, row_at);
    stream.Run(staged, row_at, [&](int unit, const float (&sums)[1]) {
      const int i = find(unit, &row);
      write(i, row, sums[0]);
    });
    return;
  }
  for (int unit = first; unit < end; unit += stride) {
    const int i = find(unit, &row);
    write(i, row, RowDot(p.weight[i], min(row, static_cast<int>(p.weight[i].rows) - 1), staged));
  }
}

}  // namespace

absl::Status Matvec(Device& device, const MatvecArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  Projections p = {};
  p.accumulate = args.accumulate;
  p.all_q4 = true;
  int64_t units = 0;
  for (const Projection& projection : args.projections) {
    p.weight[p.count] = projection.weight;
    p.out[p.count] = projection.out.f32();
    p.end[p.count++] = units += CeilDiv(projection.weight.rows, kRowsPerWarp);
    (IsQuantized(projection.weight.format) ? p.needs_q : p.needs_f) = true;
    p.all_q4 = p.all_q4 && projection.weight.format == WeightFormat::kQ4;
  }
  const int64_t K = args.x.dim[1];
  const size_t bytes = (p.needs_f ? StagedFloatBytes(K) : 0) + (p.needs_q ? StagedQuantBytes(K) : 0);
  RILL_RETURN_IF_ERROR(AllowShared(d, MatvecKernel, bytes, "matvec"));
  if (units > INT32_MAX / 2) return absl::InvalidArgumentError(absl::StrCat("matvec: ", units, " pairs of rows"));
  const unsigned blocks = Blocks(units, kThreads / kWarp, d.sm_count());
  MatvecKernel<<<blocks, kThreads, bytes, d.stream()>>>(p, args.x.f32(), static_cast<int>(K));
  return d.Launched("matvec");
}

}  // namespace rill::cuda
