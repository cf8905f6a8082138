#include "kernels/ops/matmul.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/tile_product.cuh"

namespace rill::cuda {
namespace {

__global__ void __launch_bounds__(kProductThreads) MatmulKernel(MatrixView w, const float* x, float* out, int64_t T, bool accumulate) {
  __shared__ ProductShared shared;
  const int n0 = blockIdx.x * kProductTile;
  for (int64_t t0 = blockIdx.y * int64_t{kProductTile}; t0 < T; t0 += gridDim.y * int64_t{kProductTile}) {
    float acc[4][4] = {};
    TileProduct(w, n0, [&](int i) { return t0 + i < T ? x + (t0 + i) * w.cols : nullptr; }, shared, acc);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t t = t0 + 4 * (threadIdx.x / 16) + i;
        const int n = n0 + 4 * (threadIdx.x % 16) + j;
        if (t >= T || n >= w.rows) continue;
        float* y = out + t * w.rows + n;
        *y = accumulate ? *y + acc[i][j] : acc[i][j];
      }
    }
  }
}

}  // namespace

// One row takes the way of matvec: it is bound by the weights, and a decode step has the same bits either way.
absl::Status Matmul(Device& device, const MatmulArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const int64_t T = args.x.dim[0];
  if (T == 1) return Matvec(device, {args.x, args.projections, args.accumulate});
  for (const Projection& p : args.projections) {
    const dim3 grid(static_cast<unsigned>(CeilDiv(p.weight.rows, kProductTile)), Blocks(T, kProductTile));
    MatmulKernel<<<grid, kProductThreads, 0, d.stream()>>>(p.weight, args.x.f32(), p.out.f32(), T, args.accumulate);
  }
  return d.Launched("matmul");
}

}  // namespace rill::cuda
