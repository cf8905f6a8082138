// kernels/cuda/mla.cuh — the parts of absorbed MLA for any shape: absorbing a query, attending, combining, expanding.
//
// Cached rows are taken in tiles of kMlaTile. A run of neighbouring tiles leaves one partial: for each head R latent sums
// relative to 2^m, then m (base 2) and the sum of weights. Partials are combined in order of position.
#pragma once

#include "kernels/cuda/dot.cuh"
#include "kernels/ops/mla_decode.h"

namespace rill::cuda {

inline constexpr int kMlaTile = 64;
inline constexpr int kAbsorbColumns = 128;  // of q~ that one block computes
inline constexpr float kLog2E = 1.4426950408889634f;

struct MlaTask {
  int H, N, P, V, R;
  float scale;
  MatrixView kv_b;
  MlaCacheView cache;
};

__host__ __device__ inline int64_t PartialFloats(const MlaTask& a) { return a.R + 2; }

// Tiles [begin, end) of slot `slot` of `n_slots`.
struct TileRange {
  int64_t begin, end;
};
__host__ __device__ inline TileRange SlotTiles(int64_t length, int slot, int n_slots) {
  const int64_t n_tiles = (length + kMlaTile - 1) / kMlaTile;
  return {n_tiles * slot / n_slots, n_tiles * (slot + 1) / n_slots};
}

__host__ __device__ inline int CacheRowBytes(const MlaTask& a) { return (a.R + a.P) * (a.cache.dtype == DType::kF32 ? 4 : 2); }

__device__ inline const char* CacheRow(const MlaCacheView& cache, int64_t token, int row_bytes) {
  return static_cast<const char*>(cache.pages[token / kPageTokens]) + cache.layer_offset + token % kPageTokens * row_bytes;
}

// A cached value; rows may have been written by another block of this launch.
__device__ inline float CacheValue(const MlaTask& a, const char* row, int i) {
  if (a.cache.dtype == DType::kF32) return __ldcg(reinterpret_cast<const float*>(row) + i);
  const unsigned short bits = __ldcg(reinterpret_cast<const unsigned short*>(row) + i);
  return __uint_as_float(uint32_t{bits} << 16);
}

// The shape of the matrix units' tiles (mla_tile.cuh): the 48B model's, with a bf16 cache.
inline constexpr int kTileLatent = 512;
inline constexpr int kTileRow = 576;
__host__ __device__ inline bool FitsTile(const MlaTask& a) {
  return a.cache.dtype == DType::kBf16 && a.R == kTileLatent && a.P == kTileRow - kTileLatent;
}

inline constexpr int kAbsorbParts = 16;     // sums of rows of W_K that meet in shared memory
inline constexpr int kAbsorbFloats = kAbsorbParts * kAbsorbColumns;

// The sums of a part's rows, for a q4 matrix: a thread takes four bytes, eight columns, of every 32nd row, so that one round trip to
// memory brings all it needs. `first` is the head's first row.
__device__ __forceinline__ void AbsorbWords(const MlaTask& a, const float* q, int64_t first, int column, float* shared) {
  const int word = ThreadId() % 16, part = ThreadId() / 16, groups = a.R / kGroup, group = column / kGroup + word / 4;
  const uint32_t* values = static_cast<const uint32_t*>(a.kv_b.values) + ((first + part) * groups + group) * 4 + word % 4;
  const uint16_t* scales = static_cast<const uint16_t*>(a.kv_b.scales) + (first + part) * groups + group;
  float sums[8] = {}, total = 0;
#pragma unroll 4
  for (int n = part; n < a.N; n += 32, values += 32 * 4 * groups, scales += 32 * groups) {
    const uint32_t codes = __ldg(values);
    const float x = LoadShared(q + n) * HalfToFloat(__ldg(scales));
    total += x;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t code = i < 4 ? codes >> (8 * i) & 15u : codes >> (8 * (i - 4) + 4) & 15u;
      sums[i] = fmaf(x, static_cast<float>(static_cast<int>(code)), sums[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float sum = fmaf(-8.0f, total, sums[i]);
    const float both = sum + __shfl_xor_sync(0xffffffffu, sum, 16);
    if (ThreadId() % kWarp < 16) shared[ThreadId() / kWarp * kAbsorbColumns + word / 4 * kGroup + word % 4 * 4 + (i < 4 ? i : 12 + i)] = both;
  }
}

// Columns [column, column + kAbsorbColumns) of q~ = W_K^T q of head h; n ascending within each of blockDim / 128 parts. Queries of a
// token lie at `absorbed`: [H, R] float32, or, when tiles will meet them, [H, R + P] bf16, q~ and then the rope part of q.
// `shared` holds kAbsorbFloats. 512 threads.
template <WeightFormat F>
__device__ __forceinline__ void Absorb(const MlaTask& a, const float* q, int h, int column, float* absorbed, float* shared) {
  const int c = column + ThreadId() % kAbsorbColumns;
  const int64_t first = static_cast<int64_t>(h) * (a.N + a.V);
  if (F == WeightFormat::kQ4 && a.R % kAbsorbColumns == 0) {
    AbsorbWords(a, q, first, column, shared);
  } else {
    const int part = ThreadId() / kAbsorbColumns, parts = blockDim.x / kAbsorbColumns;
    float sum = 0;
    if (c < a.R) {
      ColumnWalk<F> column_of(a.kv_b, first + part, c, parts);
#pragma unroll 4
      for (int n = part; n < a.N; n += parts) sum = fmaf(column_of.Next(), LoadShared(q + n), sum);
    }
    for (int i = ThreadId(); i < kAbsorbFloats; i += blockDim.x) shared[i] = i < static_cast<int>(blockDim.x) ? sum : 0.0f;
  }
  __syncthreads();
  if (ThreadId() < kAbsorbColumns && c < a.R) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kAbsorbParts; ++i) sum += shared[i * kAbsorbColumns + ThreadId()];
    if (FitsTile(a)) reinterpret_cast<Bf16*>(absorbed)[h * kTileRow + c] = ToBf16(sum);
    else absorbed[h * a.R + c] = sum;
  }
  if (FitsTile(a) && column == 0 && ThreadId() < a.P) {
    reinterpret_cast<Bf16*>(absorbed)[h * kTileRow + kTileLatent + ThreadId()] = ToBf16(LoadShared(q + a.N + ThreadId()));
  }
  __syncthreads();
}

// Any shape, plain arithmetic: one block, one head, rows [begin, end) of the cache into one partial. `shared` holds
// kMlaTile + kMaxWarps floats.
__device__ __forceinline__ void AttendPlain(const MlaTask& a, const float* absorbed, const float* q_rope, int64_t begin, int64_t end,
                                   float* partial, float* shared) {
  const int row_bytes = CacheRowBytes(a);
  const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp, n_warps = blockDim.x / kWarp;
  float max = -INFINITY, total = 0;
  for (int r = ThreadId(); r < a.R; r += blockDim.x) partial[r] = 0;
  for (int64_t first = begin; first < end; first += kMlaTile) {
    const int n = static_cast<int>(end - first < kMlaTile ? end - first : kMlaTile);
    for (int t = warp; t < n; t += n_warps) {
      const char* row = CacheRow(a.cache, first + t, row_bytes);
      float sum = 0;
      for (int r = lane; r < a.R; r += kWarp) sum = fmaf(LoadShared(absorbed + r), CacheValue(a, row, r), sum);
      for (int p = lane; p < a.P; p += kWarp) sum = fmaf(LoadShared(q_rope + p), CacheValue(a, row, a.R + p), sum);
      sum = LaneSum(sum);
      if (lane == 0) shared[t] = sum * a.scale * kLog2E;
    }
    __syncthreads();
    float new_max = max;
    for (int t = 0; t < n; ++t) new_max = fmaxf(new_max, shared[t]);
    const float keep = exp2f(max - new_max);
    float sum = 0;
    for (int t = 0; t < n; ++t) sum += exp2f(shared[t] - new_max);
    total = total * keep + sum;
    max = new_max;
    for (int r = ThreadId(); r < a.R; r += blockDim.x) {
      float value = partial[r] * keep;
      for (int t = 0; t < n; ++t) value = fmaf(exp2f(shared[t] - max), CacheValue(a, CacheRow(a.cache, first + t, row_bytes), r), value);
      partial[r] = value;
    }
    __syncthreads();
  }
  if (ThreadId() == 0) {
    partial[a.R] = max;
    partial[a.R + 1] = total;
  }
}

// out[v] = W_V latent for values [v_begin, v_end) of head h, the latent being the combination of `n_slots` partials
// `stride` floats apart. `shared` holds StagedBytes(R) + 8 * n_slots bytes.
template <WeightFormat F>
__device__ __forceinline__ void ExpandHead(const MlaTask& a, int h, const float* partials, int64_t stride, int n_slots, int v_begin,
                                  int v_end, float* out, char* shared) {
  Staged latent = PlaceStaged(shared, a.R);
  if constexpr (IsQuantized(F)) latent.f = nullptr;
  else latent.q = nullptr;
  float* weight = reinterpret_cast<float*>(shared + StagedBytes(a.R));
  float* sums = weight + n_slots;
  for (int s = ThreadId(); s < n_slots; s += blockDim.x) {
    weight[s] = LoadShared(partials + s * stride + a.R);
    sums[s] = LoadShared(partials + s * stride + a.R + 1);
  }
  __syncthreads();
  float max = -INFINITY;
  for (int s = 0; s < n_slots; ++s) max = fmaxf(max, weight[s]);
  __syncthreads();
  for (int s = ThreadId(); s < n_slots; s += blockDim.x) weight[s] = exp2f(weight[s] - max);
  __syncthreads();
  float total = 0;
  for (int s = 0; s < n_slots; ++s) total = fmaf(weight[s], sums[s], total);
  const float inverse = 1.0f / total;
#pragma unroll 1
  for (int r = ThreadId(); r < (a.R + kGroup - 1) / kGroup * kGroup; r += blockDim.x) {
    float sum = 0;
    if (r < a.R) {
      const float* at = partials + r;
#pragma unroll 16
      for (int s = 0; s < n_slots; ++s) sum = fmaf(weight[s], LoadShared(at + s * stride), sum);
    }
    StageGroup(latent, r / kGroup, sum * inverse);
  }
  __syncthreads();
  const int64_t first = static_cast<int64_t>(h) * (a.N + a.V) + a.N;
  const int rows_per_pass = blockDim.x / kLanes;
#pragma unroll 1
  for (int base = v_begin; base < v_end; base += rows_per_pass) {
    const int v = base + ThreadId() / kLanes;
    const float y = RowDotOf<F>(a.kv_b, static_cast<int>(first + (v < v_end ? v : v_end - 1)), latent);
    if (v < v_end && ThreadId() % kLanes == 0) out[v] = y;
  }
  __syncthreads();
}

// Row `position` of the cache: [RmsNorm(kv[0:R]) | kv[R:R+P]]. `scratch` holds kMaxWarps floats.
__device__ __forceinline__ void AppendRow(const MlaTask& a, const float* kv, const float* weight, float eps, int64_t position,
                                 float* scratch) {
  float sum = 0;
  for (int r = ThreadId(); r < a.R; r += blockDim.x) {
    const float value = LoadShared(kv + r);
    sum = fmaf(value, value, sum);
  }
  const float root = sqrtf(BlockSum(sum, scratch) / static_cast<float>(a.R) + eps);
  char* row = const_cast<char*>(CacheRow(a.cache, position, CacheRowBytes(a)));
  for (int i = ThreadId(); i < a.R + a.P; i += blockDim.x) {
    const float value = i < a.R ? LoadShared(kv + i) / root * weight[i] : LoadShared(kv + i);
    if (a.cache.dtype == DType::kF32) {
      reinterpret_cast<float*>(row)[i] = value;
    } else {
      reinterpret_cast<Bf16*>(row)[i] = ToBf16(value);
    }
  }
}

}  // namespace rill::cuda
