// kernels/cuda/marked.cuh — values in device memory that tell by themselves that they are there.
//
// The lowest bit of a marked float is its mark. A place is written once a use, and the mark alternates from use to use, so who reads asks until the mark
// is this use's: no barrier across the grid and no fence is needed for the value's sake. A barrier costs 1.0 us behind its last arrival and the trip for
// the values 0.4 more, a marked value 0.5 in all; 0.25 of a barrier is the fence in front of it (H200). The mark is cleared in what a reader gets: results do
// not depend on how often a place was used, they have a mantissa of 23 bits instead of 24.
//
// A place may be written anew when everyone has read it: there must be a barrier between a use's readers and the next use's writers.
#pragma once

#include "kernels/cuda/stage.cuh"

namespace rill::cuda {

__device__ __forceinline__ float Marked(float x, unsigned mark) { return __uint_as_float((__float_as_uint(x) & ~1u) | mark); }
__device__ __forceinline__ float Unmarked(float x) { return __uint_as_float(__float_as_uint(x) & ~1u); }

// Relaxed: a value that another block may write at this moment.
__device__ __forceinline__ float LoadRelaxed(const float* from) {
  float x;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(x) : "l"(from) : "memory");
  return x;
}
__device__ __forceinline__ float2 LoadRelaxed2(const float* from) {
  float2 x;
  asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "l"(from) : "memory");
  return x;
}
__device__ __forceinline__ float4 LoadRelaxed4(const float* from) {
  float4 x;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "l"(from) : "memory");
  return x;
}

// 1 in the lowest bit when a mark is missing.
__device__ __forceinline__ unsigned Missing(float x, unsigned mark) { return __float_as_uint(x) ^ mark; }
__device__ __forceinline__ unsigned Missing(float2 x, unsigned mark) { return Missing(x.x, mark) | Missing(x.y, mark); }
__device__ __forceinline__ unsigned Missing(float4 x, unsigned mark) { return Missing(x.x, mark) | Missing(x.y, mark) | Missing(x.z, mark) | Missing(x.w, mark); }
__device__ __forceinline__ float2 Unmarked(float2 x) { return make_float2(Unmarked(x.x), Unmarked(x.y)); }
__device__ __forceinline__ float4 Unmarked(float4 x) { return make_float4(Unmarked(x.x), Unmarked(x.y), Unmarked(x.z), Unmarked(x.w)); }

// Asks again while load() says that a mark is missing, with a pause: the whole grid asks at the same moments.
template <typename Load>
__device__ __forceinline__ void AwaitMarks(Load load) {
  while (load() & 1) __nanosleep(60);
}
__device__ __forceinline__ float AwaitMarked(const float* at, unsigned mark) {
  float x;
  AwaitMarks([&] { return Missing(x = LoadRelaxed(at), mark); });
  return Unmarked(x);
}
// Values first .. first + 3 of K, zeros behind them, one by one.
inline __device__ __noinline__ float4 AwaitSomeOfFour(const float* from, int first, int K, unsigned mark) {
  const auto at = [&](int i) { return first + i < K ? AwaitMarked(from + first + i, mark) : 0.0f; };
  return make_float4(at(0), at(1), at(2), at(3));
}
// The i-th eight of K values, zeros behind them.
__device__ __forceinline__ Eight AwaitEight(const float* from, int i, int K, unsigned mark) {
  if (K % 8 != 0) return {AwaitSomeOfFour(from, 8 * i, K, mark), AwaitSomeOfFour(from, 8 * i + 4, K, mark)};
  if (8 * i >= K) return {make_float4(0, 0, 0, 0), make_float4(0, 0, 0, 0)};
  Eight x;
  AwaitMarks([&] {
    x = {LoadRelaxed4(from + 8 * i), LoadRelaxed4(from + 8 * i + 4)};
    return Missing(x.a, mark) | Missing(x.b, mark);
  });
  return {Unmarked(x.a), Unmarked(x.b)};
}

}  // namespace rill::cuda
