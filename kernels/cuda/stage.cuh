// kernels/cuda/stage.cuh — an activation row in shared memory, ready to meet weights.
//
// Two forms. `f` is the row in float32, for bf16 and f32 weights. `q` is for q8 and q4 weights: each group of 32 values
// as integers of 16 bits with one scale, x = scale * (256 * hi + lo), so that a product with 4- or 8-bit codes is exact
// in int32 and costs two dp4a for four inputs. The error, 1.5e-5 of the group's largest value, is a hundredth of bf16's.
//
// A group is 80 bytes: 32 hi, 32 lo, scale (float), sum of the integers (int), 8 unused: at that stride eight lanes that
// read 16 bytes of eight neighbouring groups touch all 32 banks once.
#pragma once

#include "kernels/cuda/math.cuh"
#include "kernels/cuda/staged_layout.h"
#include "kernels/ops/matrix.h"

namespace rill::cuda {

struct Staged {
  float* f = nullptr;  // [AlignUp(K, 32)], zeros behind K; null when no weight needs it
  char* q = nullptr;   // [ceil(K / 32)] groups; null when no weight needs it
};

constexpr size_t StagedFloatBytes(int64_t K) { return AlignUp(K, kGroup) * sizeof(float); }
constexpr size_t StagedQuantBytes(int64_t K) { return GroupsPerRow(K) * kStagedGroupBytes; }

// Bytes for both forms, a multiple of 16.
constexpr size_t StagedBytes(int64_t K) { return StagedFloatBytes(K) + StagedQuantBytes(K); }

// Both forms at `memory` (16-byte aligned).
__device__ inline Staged PlaceStaged(char* memory, int64_t K) {
  return {reinterpret_cast<float*>(memory), memory + StagedFloatBytes(K)};
}

// A group's integers are x * IntegersOf(max), x is an integer * ScaleOf(max), for the largest |x|.
inline constexpr float kLargestInteger = 32512.0f;  // 127 * 256: hi stays within int8 after rounding
__device__ __forceinline__ float IntegersOf(float max) { return max < 1e-30f ? 0.0f : __fdividef(kLargestInteger, max); }
__device__ __forceinline__ float ScaleOf(float max) { return max < 1e-30f ? 0.0f : max * (1.0f / kLargestInteger); }

// Scale and sum, and zeros behind them: a group is copied in whole, and nothing copies what nobody wrote.
__device__ __forceinline__ void PutTail(char* group, int2 tail) { *reinterpret_cast<int4*>(group + 64) = make_int4(tail.x, tail.y, 0, 0); }

// One warp's group in its integer form: lane i holds value i, all lanes the scale and the integers' sum.
struct GroupForm {
  int hi, lo;
  int2 tail;

  __device__ __forceinline__ explicit GroupForm(float value) {
    const float max = __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(fabsf(value))));
    const int integer = __float2int_rn(value * IntegersOf(max));  // the product's rounding is far below a half
    lo = static_cast<int8_t>(integer & 0xff);
    hi = (integer - lo) >> 8;
    // A NaN among the values is the maximum by its bits, so the scale is NaN too.
    tail = make_int2(__float_as_int(ScaleOf(max)), __reduce_add_sync(0xffffffffu, integer));
  }
  // To `to`, shared or device memory.
  __device__ __forceinline__ void Put(char* to) const {
    const int lane = ThreadId() % kWarp;
    to[lane] = static_cast<char>(hi);
    to[32 + lane] = static_cast<char>(lo);
    if (lane == 0) PutTail(to, tail);
  }
};
__device__ inline void QuantizeGroup(char* to, float value) { GroupForm(value).Put(to); }

// Eight neighbouring values of a thread.
struct Eight {
  float4 a, b;
};

// The same from four lanes with eight values each, in an eighth of the instructions: a warp's eight groups, the same integers.
struct EightForm {
  uint2 hi, lo;
  int2 tail;

  __device__ __forceinline__ explicit EightForm(const Eight& v) {
    const float x[8] = {v.a.x, v.a.y, v.a.z, v.a.w, v.b.x, v.b.y, v.b.z, v.b.w};
    uint32_t most = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) most = max(most, __float_as_uint(fabsf(x[j])));
#pragma unroll
    for (int offset = 2; offset > 0; offset /= 2) most = max(most, __shfl_xor_sync(0xffffffffu, most, offset));
    const float max = __uint_as_float(most), inverse = IntegersOf(max);
    int i[8], sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += i[j] = __float2int_rn(x[j] * inverse);
    lo = make_uint2(LowDigits(i), LowDigits(i + 4)), hi = make_uint2(HighDigits(i), HighDigits(i + 4));
#pragma unroll
    for (int offset = 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    tail = make_int2(__float_as_int(ScaleOf(max)), sum);
  }
  // To the four lanes' group at `to`.
  __device__ __forceinline__ void Put(char* to) const {
    const int lane = ThreadId() % 4;
    reinterpret_cast<uint2*>(to)[lane] = hi;
    reinterpret_cast<uint2*>(to)[4 + lane] = lo;
    if (lane == 0) PutTail(to, tail);
  }

 private:
  __device__ __forceinline__ static uint32_t LowDigits(const int* i) {
    return __byte_perm(__byte_perm(i[0], i[1], 0x0040), __byte_perm(i[2], i[3], 0x0040), 0x5410);
  }
  // The low digit is signed, so the high one is rounded: (i - lo) >> 8.
  __device__ __forceinline__ static uint32_t HighDigits(const int* i) {
    return __byte_perm(__byte_perm(i[0] + 128, i[1] + 128, 0x0051), __byte_perm(i[2] + 128, i[3] + 128, 0x0051), 0x5410);
  }
};

// One warp, one group, in the forms that `x` has.
__device__ inline void StageGroup(const Staged& x, int group, float value) {
  if (x.f != nullptr) x.f[group * kGroup + ThreadId() % kWarp] = value;
  if (x.q != nullptr) QuantizeGroup(x.q + group * kStagedGroupBytes, value);
}

// The first `threads` workers copy `groups` integer groups that an earlier phase left in device memory.
template <int threads>
__device__ inline void CopyGroups(char* to, const char* from, int groups) {
  constexpr int kAtOnce = 4;
  const int n = groups * (kStagedGroupBytes / 16);
  for (int first = ThreadId(); first < n; first += kAtOnce * threads) {
    uint4 v[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * threads;
      v[j] = i < n ? __ldcg(reinterpret_cast<const uint4*>(from) + i) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * threads;
      if (i < n) reinterpret_cast<uint4*>(to)[i] = v[j];
    }
  }
}

// kThreads threads, or the whole block, stage value(0 .. K-1), several at a time so that one round trip to memory serves them all. The caller puts
// a barrier behind it.
template <int kThreads = 0, typename Value>
__device__ inline void Stage(const Staged& x, int K, Value value) {
  constexpr int kAtOnce = 8;
  const int threads = kThreads > 0 ? kThreads : static_cast<int>(blockDim.x);
  const int padded = (K + kGroup - 1) / kGroup * kGroup;
  for (int first = ThreadId(); first < padded; first += kAtOnce * threads) {
    float values[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * threads;
      values[j] = i < K ? value(i) : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * threads;
      if (i < padded) StageGroup(x, i / kGroup, values[j]);
    }
  }
}

}  // namespace rill::cuda
