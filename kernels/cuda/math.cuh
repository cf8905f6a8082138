// kernels/cuda/math.cuh — what every kernel of this folder uses: reductions in a fixed order, activations, loads.
//
// Nothing here is newer than sm_80, so every kernel runs on a Jetson Orin.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace rill::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kMaxWarps = 32;

__device__ inline float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline float Silu(float x) { return x * Sigmoid(x); }
__device__ inline float Softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

// The sum over groups of `width` lanes; every lane has it.
template <int width = kWarp>
__device__ inline float LaneSum(float x) {
#pragma unroll
  for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// The sum over the block, the same bits in every thread: lanes as a tree, warps in ascending order. `scratch` holds
// kMaxWarps floats; it may be used again after the next barrier.
__device__ inline float BlockSum(float x, float* scratch) {
  x = LaneSum(x);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  float sum = 0;
  const int n_warps = blockDim.x / kWarp;
  for (int i = 0; i < n_warps; ++i) sum += scratch[i];
  return sum;
}

// Sixteen bytes of weights: read once a token, so they must not push activations out of the first-level cache.
__device__ inline uint4 LoadWeights(const void* address) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

// A scale (float16) as float32.
__device__ inline float LoadScale(const void* scales, int64_t index) {
  uint16_t bits;
  asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(bits) : "l"(static_cast<const uint16_t*>(scales) + index));
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
}

// Activations that another block wrote in this very launch: from the second-level cache, never from the first.
__device__ inline float LoadShared(const float* address) { return __ldcg(address); }

__device__ inline float Bf16Low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float Bf16High(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

}  // namespace rill::cuda
