// kernels/cuda/math.cuh — what every kernel of this folder uses: reductions in a fixed order, activations, loads.
//
// Nothing here is newer than sm_80, so every kernel runs on a Jetson Orin.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace rill::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kMaxWarps = 32;
inline constexpr int kWorkers = 512;  // threads that compute, of a block whose other warps bring weights

// Said to be what it is, so that / and % of it are a shift and a mask.
__device__ __forceinline__ int ThreadId() {
  const int thread = static_cast<int>(threadIdx.x);
  __builtin_assume(thread >= 0 && thread < 1024);
  return thread;
}
__device__ __forceinline__ int BlockId() { return static_cast<int>(blockIdx.x); }
__device__ __forceinline__ int GridSize() { return static_cast<int>(gridDim.x); }

// With the device's own exponential and division, a few units in the last place: the library's come with slow paths whose code a step would
// have to jump over.
__device__ inline float Sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
__device__ inline float Silu(float x) { return x * Sigmoid(x); }
__device__ inline float Softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

// The sum over groups of `width` lanes; every lane has it.
template <int width = kWarp>
__device__ inline float LaneSum(float x) {
#pragma unroll
  for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// The largest of the warp, in every lane.
__device__ inline float WarpMax(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// Of a kernel that may have started early (launch.h): waits until the kernels before it are over and what they wrote can be read. Lets the next one start.
__device__ __forceinline__ void AwaitGridsBefore() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void LetNextGridStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// A barrier of the block's first `threads` threads: all of them, or all but those that bring weights (job_queue.cuh).
template <int threads = kWorkers>
__device__ __forceinline__ void SyncWorkers() { asm volatile("bar.sync 5, %0;" ::"n"(threads) : "memory"); }

// The sum over the block, the same bits in every thread: lanes as a tree, warps in ascending order. `scratch` holds
// kMaxWarps floats; it may be used again after the next barrier.
__device__ inline float BlockSum(float x, float* scratch) {
  x = LaneSum(x);
  if (ThreadId() % kWarp == 0) scratch[ThreadId() / kWarp] = x;
  __syncthreads();
  float sum = 0;
  const int n_warps = blockDim.x / kWarp;
  for (int i = 0; i < n_warps; ++i) sum += scratch[i];
  return sum;
}
// The same over the block's first n_warps warps, a power of two: the warps as a tree as well.
template <int n_warps>
__device__ __forceinline__ float BlockSum(float x, float* scratch) {
  x = LaneSum(x);
  if (ThreadId() % kWarp == 0) scratch[ThreadId() / kWarp] = x;
  SyncWorkers<n_warps * kWarp>();
  return LaneSum<n_warps>(scratch[ThreadId() % n_warps]);
}

// Four sums over the workers for little more than the price of one, in two halves with a barrier of the workers between them: a warp leaves its sums, or none;
// then a thread has sum ThreadId() % 4. `scratch` holds four floats a warp.
__device__ __forceinline__ void LeaveSums(const float (&x)[4], float* scratch) {
  const int lane = ThreadId() % kWarp, odd = lane & 1, second = lane & 2;
  const float low = (odd ? x[1] : x[0]) + __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1);
  const float high = (odd ? x[3] : x[2]) + __shfl_xor_sync(0xffffffffu, odd ? x[2] : x[3], 1);
  float sum = (second ? high : low) + __shfl_xor_sync(0xffffffffu, second ? low : high, 2);
#pragma unroll
  for (int offset = 4; offset < kWarp; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (lane < 4) scratch[ThreadId() / kWarp * 4 + lane] = sum;
}
__device__ __forceinline__ void LeaveNoSums(float* scratch) {
  if (ThreadId() % kWarp < 4) scratch[ThreadId() / kWarp * 4 + ThreadId() % kWarp] = 0;
}
__device__ __forceinline__ float TakeSum(const float* scratch) {
  static_assert(kWorkers == 2 * kWarp * kWarp / 4, "a lane adds two of the warps' sums");
  const int lane = ThreadId() % kWarp;
  float sum = scratch[lane] + scratch[kWarp + lane];
#pragma unroll
  for (int offset = 4; offset < kWarp; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  return sum;
}

// Sixteen bytes of weights, zeros unless `wanted`: read once a token, so they must not push activations out of the first-level
// cache. The zeros matter: a register that is written only under a condition counts as live all the way round an
// enclosing loop, and a step has dozens of them.
__device__ __forceinline__ uint4 LoadWeights(const void* address, bool wanted = true) {
  uint4 v;
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %5, 0;\n\tmov.u32 %0, 0;\n\tmov.u32 %1, 0;\n\tmov.u32 %2, 0;\n\tmov.u32 %3, 0;\n\t"
      "@p ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];\n\t}"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(address), "r"(static_cast<int>(wanted)));
  return v;
}

// A scale (float16): its bits, 0 unless `wanted`, and its value.
__device__ __forceinline__ uint16_t LoadScaleBits(const uint16_t* address, bool wanted = true) {
  uint16_t bits;
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %2, 0;\n\tmov.u16 %0, 0;\n\t@p ld.global.nc.L1::no_allocate.u16 %0, [%1];\n\t}"
      : "=&h"(bits) : "l"(address), "r"(static_cast<int>(wanted)));
  return bits;
}
__device__ __forceinline__ float HalfToFloat(uint16_t bits) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
}
__device__ __forceinline__ float LoadScale(const void* scales, int64_t index) {
  return HalfToFloat(LoadScaleBits(static_cast<const uint16_t*>(scales) + index));
}

// Activations that another block wrote in this very launch: from the second-level cache, never from the first.
__device__ inline float LoadShared(const float* address) { return __ldcg(address); }

__device__ inline float Bf16Low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float Bf16High(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

}  // namespace rill::cuda
