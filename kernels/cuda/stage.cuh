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
#include "kernels/ops/matrix.h"

namespace rill::cuda {

inline constexpr int kStagedGroupBytes = 80;

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

// One warp, one group: lane i gives value i.
__device__ inline void StageGroup(const Staged& x, int group, float value) {
  const int lane = threadIdx.x % kWarp;
  if (x.f != nullptr) x.f[group * kGroup + lane] = value;
  if (x.q == nullptr) return;
  constexpr float kLargest = 32512.0f;  // 127 * 256: hi stays within int8 after rounding
  const float max = __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(fabsf(value))));
  const float inverse = max < 1e-30f ? 0.0f : kLargest / max;
  const int integer = __float2int_rn(value * inverse);
  const int lo = static_cast<int8_t>(integer & 0xff);
  const int hi = (integer - lo) >> 8;
  const int sum = __reduce_add_sync(0xffffffffu, integer);
  char* bytes = x.q + group * kStagedGroupBytes;
  bytes[lane] = static_cast<char>(hi);
  bytes[32 + lane] = static_cast<char>(lo);
  if (lane == 0) {
    reinterpret_cast<float*>(bytes)[16] = max < 1e-30f ? 0.0f : max / kLargest;  // a NaN stays one
    reinterpret_cast<int*>(bytes)[17] = sum;
  }
}

// The whole block stages value(0 .. K-1). The caller puts a barrier behind it.
template <typename Value>
__device__ inline void Stage(const Staged& x, int K, Value value) {
  const int padded = (K + kGroup - 1) / kGroup * kGroup;
  for (int i = threadIdx.x; i < padded; i += blockDim.x) StageGroup(x, i / kGroup, i < K ? value(i) : 0.0f);
}

// Stages RmsNorm(value(0 .. K-1); weight, eps). `scratch` holds kMaxWarps floats. The caller puts a barrier behind it.
template <typename Value>
__device__ inline void StageNorm(const Staged& x, int K, const float* weight, float eps, float* scratch, Value value) {
  constexpr int kKept = 8;  // elements a thread keeps in registers between the two passes
  const int beyond = threadIdx.x + kKept * blockDim.x;
  float kept[kKept];
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    const int i = threadIdx.x + j * blockDim.x;
    kept[j] = i < K ? value(i) : 0.0f;
    sum = fmaf(kept[j], kept[j], sum);
  }
  for (int i = beyond; i < K; i += blockDim.x) {
    const float v = value(i);
    sum = fmaf(v, v, sum);
  }
  const float inverse = 1.0f / sqrtf(BlockSum(sum, scratch) / static_cast<float>(K) + eps);
  const int padded = (K + kGroup - 1) / kGroup * kGroup;
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    const int i = threadIdx.x + j * blockDim.x;
    if (i < padded) StageGroup(x, i / kGroup, i < K ? kept[j] * inverse * weight[i] : 0.0f);
  }
  for (int i = beyond; i < padded; i += blockDim.x) {
    StageGroup(x, i / kGroup, i < K ? value(i) * inverse * weight[i] : 0.0f);
  }
}

}  // namespace rill::cuda
