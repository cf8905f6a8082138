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
  bool accumulate, needs_f, needs_q;
};

__global__ void __launch_bounds__(kThreads) MatvecKernel(const __grid_constant__ Projections p, const float* x, int K) {
  extern __shared__ __align__(16) char shared[];
  Staged staged = PlaceStaged(shared, p.needs_f ? K : 0);
  if (!p.needs_f) staged.f = nullptr;
  if (!p.needs_q) staged.q = nullptr;
  Stage(staged, K, [&](int i) { return x[i]; });
  __syncthreads();
  const int64_t n_warps = gridDim.x * int64_t{kThreads / kWarp};
  int i = 0;
  for (int64_t unit = threadIdx.x / kWarp * int64_t{gridDim.x} + blockIdx.x; unit < p.end[p.count - 1]; unit += n_warps) {
    while (unit >= p.end[i]) ++i;
    const MatrixView& m = p.weight[i];
    const int row = static_cast<int>(unit - (i == 0 ? 0 : p.end[i - 1])) * kRowsPerWarp + threadIdx.x % kWarp / kLanes;
    const bool inside = row < m.rows;
    const float y = RowDot(m, inside ? row : static_cast<int>(m.rows) - 1, staged);
    if (inside && threadIdx.x % kLanes == 0) p.out[i][row] = p.accumulate ? p.out[i][row] + y : y;
  }
}

}  // namespace

absl::Status Matvec(Device& device, const MatvecArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  Projections p = {};
  p.accumulate = args.accumulate;
  int64_t units = 0;
  for (const Projection& projection : args.projections) {
    p.weight[p.count] = projection.weight;
    p.out[p.count] = projection.out.f32();
    p.end[p.count++] = units += CeilDiv(projection.weight.rows, kRowsPerWarp);
    (IsQuantized(projection.weight.format) ? p.needs_q : p.needs_f) = true;
  }
  const int64_t K = args.x.dim[1];
  const size_t bytes = (p.needs_f ? StagedFloatBytes(K) : 0) + (p.needs_q ? StagedQuantBytes(K) : 0);
  RILL_RETURN_IF_ERROR(AllowShared(d, MatvecKernel, bytes, "matvec"));
  const unsigned blocks = Blocks(units, kThreads / kWarp, 2 * d.sm_count());
  MatvecKernel<<<blocks, kThreads, bytes, d.stream()>>>(p, args.x.f32(), static_cast<int>(K));
  return d.Launched("matvec");
}

}  // namespace rill::cuda
