// kernels/cuda/tile_product.cuh — a 64 x 64 tile of X W^T in float32: rows of activations, any weight format.
//
// 256 threads, 4 x 4 results each; 32 inputs (one group) at a time, decoded into shared memory. Exact arithmetic on the
// decoded weights, inputs in ascending order.
#pragma once

#include "kernels/cuda/dot.cuh"

namespace rill::cuda {

inline constexpr int kProductTile = 64;
inline constexpr int kProductThreads = 256;

struct ProductShared {
  float x[kGroup][kProductTile + 4];
  float w[kGroup][kProductTile + 4];
};

// acc[i][j] = sum_k X[row(4 ty + i), k] W[n0 + 4 tx + j, k]. row(i) is the address of activation row i, or null.
template <typename RowOf>
__device__ inline void TileProduct(const MatrixView& w, int n0, RowOf row_of, ProductShared& s, float (&acc)[4][4]) {
  const int K = static_cast<int>(w.cols), lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int k0 = 0; k0 < K; k0 += kGroup) {
    const int k = k0 + lane;
    for (int i = warp; i < kProductTile; i += kProductThreads / kWarp) {
      const float* row = row_of(i);
      s.x[lane][i] = row != nullptr && k < K ? row[k] : 0.0f;
      s.w[lane][i] = n0 + i < w.rows && k < K ? WeightAt(w, n0 + i, k) : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (int kk = 0; kk < kGroup; ++kk) {
      const float4 a = *reinterpret_cast<const float4*>(&s.x[kk][4 * ty]);
      const float4 b = *reinterpret_cast<const float4*>(&s.w[kk][4 * tx]);
      const float as[4] = {a.x, a.y, a.z, a.w}, bs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] = fmaf(as[i], bs[j], acc[i][j]);
      }
    }
    __syncthreads();
  }
}

}  // namespace rill::cuda
