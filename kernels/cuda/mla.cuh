// kernels/cuda/mla.cuh — the parts of absorbed MLA for any shape: absorbing a query, attending, combining, expanding.
//
// Cached rows are taken in tiles of kMlaTile. A run of neighbouring tiles leaves one partial: for each head R latent sums
// relative to 2^m, and its statistics: m (base 2) and the sum of weights. Partials are combined in order of position.
#pragma once

#include "kernels/cuda/tile_job.cuh"
#include "kernels/ops/mla_decode.h"

namespace rill::cuda {

inline constexpr int kMlaTile = 32;
inline constexpr float kLog2E = 1.4426950408889634f;

struct MlaTask {
  int H, N, P, V, R;
  float scale;
  MatrixView kv_b;
  MlaCacheView cache;
  bool tiles;  // attention runs on the matrix units: the shape is theirs and shared memory has room
};

// Tiles [begin, end) of slot `slot` of `n_slots`. A cache has fewer than 2^31 rows.
struct TileRange {
  int begin, end;
};
__device__ __forceinline__ int CountTiles(int length) { return static_cast<int>((static_cast<unsigned>(length) + kMlaTile - 1) / kMlaTile); }
__device__ __forceinline__ TileRange SlotTiles(int length, int slot, int n_slots) {
  const unsigned n = CountTiles(length);
  if (n == n_slots) return {slot, slot + 1};  // a division is code that comes from far
  const unsigned each = n / n_slots, more = n - each * n_slots;  // the first slots have one more
  const int begin = slot * each + min(static_cast<unsigned>(slot), more);
  return {begin, begin + static_cast<int>(each + (slot < more ? 1 : 0))};
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
__host__ __device__ inline bool HasTileShape(const MlaTask& a) {
  return a.cache.dtype == DType::kBf16 && a.R == kTileLatent && a.P == kTileRow - kTileLatent;
}

inline constexpr int kAbsorbParts = 16;     // sums of rows of W_K that meet in shared memory
inline constexpr int kAbsorbFloats = kAbsorbParts * kAbsorbColumns;

// What a thread needs of a head's W_K when it is a q4 matrix of at most kRows rows: four bytes, eight columns, of every 32nd row. Loaded
// before the query is there.
struct AbsorbWords {
  static constexpr int kEach = 4, kRows = 32 * kEach;
  uint32_t codes[kEach], scales[kEach];

  // Head h, columns [column, column + kAbsorbColumns); zeros unless `wanted` (LoadWeights() says why).
  __device__ __forceinline__ void Load(const MlaTask& a, int h, int column, bool wanted) {
    const int word = ThreadId() % 16, n = ThreadId() / 16, groups = a.R / kGroup;
    const int64_t group = (static_cast<int64_t>(h) * (a.N + a.V) + n) * groups + column / kGroup + word / 4;
    const uint32_t* value = static_cast<const uint32_t*>(a.kv_b.values) + group * 4 + word % 4;
    const uint16_t* scale = static_cast<const uint16_t*>(a.kv_b.scales) + group;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const bool there = wanted && n + 32 * j < a.N;
      codes[j] = there ? __ldg(value + 128 * j * groups) : 0;
      scales[j] = there ? __ldg(scale + 32 * j * groups) : 0;
    }
  }
  // The rows' columns times q, in kAbsorbParts parts.
  template <typename Query>
  __device__ __forceinline__ void Multiply(const MlaTask& a, Query q, float* shared) const {
    float sums[8] = {}, total = 0, x[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) x[j] = q(min(static_cast<int>(ThreadId() / 16 + 32 * j), a.N - 1));
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const float scaled = x[j] * HalfToFloat(static_cast<uint16_t>(scales[j]));
      total += scaled;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint32_t code = i < 4 ? codes[j] >> (8 * i) & 15u : codes[j] >> (8 * (i - 4) + 4) & 15u;
        sums[i] = fmaf(scaled, static_cast<float>(static_cast<int>(code)), sums[i]);
      }
    }
    const int word = ThreadId() % 16;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float sum = fmaf(-8.0f, total, sums[i]);
      const float both = sum + __shfl_xor_sync(0xffffffffu, sum, 16);
      if (ThreadId() % kWarp < 16) shared[ThreadId() / kWarp * kAbsorbColumns + word / 4 * kGroup + word % 4 * 4 + (i < 4 ? i : 12 + i)] = both;
    }
  }
};

template <WeightFormat F>
__device__ __forceinline__ bool AbsorbsWords(const MlaTask& a) {
  return F == WeightFormat::kQ4 && a.R % kAbsorbColumns == 0 && a.N <= AbsorbWords::kRows;
}

// The same for any shape and format, n ascending within each of kWorkers / 128 parts. Rows are N from row `first` of m on. Apart from
// AbsorbWords, so that its code is not in the way of theirs.
template <WeightFormat F, typename Query>
__device__ __noinline__ void AbsorbColumns(MatrixView m, int64_t first, int N, int column, Query q, float* shared) {
  const int c = column + ThreadId() % kAbsorbColumns, part = ThreadId() / kAbsorbColumns, parts = kWorkers / kAbsorbColumns;
  float sum = 0;
  if (c < m.cols) {
    ColumnWalk<F> column_of(m, first + part, c, parts);
#pragma unroll 4
    for (int n = part; n < N; n += parts) sum = fmaf(column_of.Next(), q(n), sum);
  }
#pragma unroll 1
  for (int i = ThreadId(); i < kAbsorbFloats; i += kWorkers) shared[i] = i < kWorkers ? sum : 0.0f;
}

// Columns [column, column + kAbsorbColumns) of q~ = W_K^T q of head h: put(c, q~_c). With column 0 comes the rope part of q, put(R + p, q_p). q(i) is value i
// of the query. `words` are loaded when AbsorbsWords(). `shared` holds kAbsorbFloats. 512 threads; ends behind a barrier of the workers.
template <WeightFormat F, typename Query, typename Put>
__device__ __forceinline__ void Absorb(const MlaTask& a, Query q, int h, int column, const AbsorbWords& words, Put put, float* shared) {
  if (!AbsorbsWords<F>(a)) AbsorbColumns<F>(a.kv_b, static_cast<int64_t>(h) * (a.N + a.V), a.N, column, q, shared);
  else words.Multiply(a, q, shared);
  SyncWorkers();
  const int c = column + ThreadId() % kAbsorbColumns;
  if (ThreadId() < kAbsorbColumns && c < a.R) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kAbsorbParts; ++i) sum += shared[i * kAbsorbColumns + ThreadId()];
    put(c, sum);
  }
  if (const int p = ThreadId() - kAbsorbColumns; column == 0 && p >= 0 && p < a.P) put(a.R + p, q(a.N + p));
  SyncWorkers();
}
// A token's absorbed queries as attention takes them: [H, R] float32, or, when tiles will meet them, [H, R + P] bf16, q~ and then the rope part of q.
__device__ __forceinline__ void PutQuery(const MlaTask& a, float* absorbed, int h, int c, float x) {
  if (a.tiles) reinterpret_cast<Bf16*>(absorbed)[h * kTileRow + c] = ToBf16(x);
  else if (c < a.R) absorbed[h * a.R + c] = x;
}

// Any shape, plain arithmetic: one block, one head, rows [begin, end) of the cache into one partial. `shared` holds
// kMlaTile + kMaxWarps floats. rope(p) is value p of the query's rope part.
template <typename Rope>
__device__ __forceinline__ void AttendPlain(const MlaTask& a, const float* absorbed, Rope rope, int64_t begin, int64_t end, float* partial, float* shared) {
  const int row_bytes = CacheRowBytes(a);
  const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp, n_warps = kWorkers / kWarp;
  float max = -INFINITY, total = 0;
  for (int r = ThreadId(); r < StatisticsAt(a.R); r += kWorkers) partial[r] = 0;  // with the columns that fill up the last sixteen bytes
  for (int64_t first = begin; first < end; first += kMlaTile) {
    const int n = static_cast<int>(end - first < kMlaTile ? end - first : kMlaTile);
    for (int t = warp; t < n; t += n_warps) {
      const char* row = CacheRow(a.cache, first + t, row_bytes);
      float sum = 0;
      for (int r = lane; r < a.R; r += kWarp) sum = fmaf(LoadShared(absorbed + r), CacheValue(a, row, r), sum);
      for (int p = lane; p < a.P; p += kWarp) sum = fmaf(rope(p), CacheValue(a, row, a.R + p), sum);
      sum = LaneSum(sum);
      if (lane == 0) shared[t] = sum * a.scale * kLog2E;
    }
    SyncWorkers();
    float new_max = max;
    for (int t = 0; t < n; ++t) new_max = fmaxf(new_max, shared[t]);
    const float keep = exp2f(max - new_max);
    float sum = 0;
    for (int t = 0; t < n; ++t) sum += exp2f(shared[t] - new_max);
    total = total * keep + sum;
    max = new_max;
    for (int r = ThreadId(); r < a.R; r += kWorkers) {
      float value = partial[r] * keep;
      for (int t = 0; t < n; ++t) value = fmaf(exp2f(shared[t] - max), CacheValue(a, CacheRow(a.cache, first + t, row_bytes), r), value);
      partial[r] = value;
    }
    SyncWorkers();
  }
  if (ThreadId() == 0) {
    partial[StatisticsAt(a.R)] = max;
    partial[StatisticsAt(a.R) + 1] = total;
  }
}

// A group of kGroup columns of one row of a matrix, on its way; zeros behind the row's end.
template <WeightFormat F>
struct RowGroup {
  static constexpr int kBits = F == WeightFormat::kQ4 ? 4 : F == WeightFormat::kQ8 ? 8 : F == WeightFormat::kBf16 ? 16 : 32;
  static constexpr int kWords = kGroup * kBits / 128, kEach = 128 / kBits;
  uint4 w[kWords];
  uint16_t scale;

  __device__ __forceinline__ void Load(const MatrixView& m, int64_t row, int group, bool wanted) {
    const int columns = static_cast<int>(m.cols), first = group * kGroup;
    if constexpr (IsQuantized(F)) {
      const int64_t at = row * GroupsPerRow(m.cols) + group;
#pragma unroll
      for (int i = 0; i < kWords; ++i) w[i] = LoadWeights(static_cast<const uint4*>(m.values) + at * kWords + i, wanted);
      scale = LoadScaleBits(static_cast<const uint16_t*>(m.scales) + at, wanted);
    } else if (const char* at = static_cast<const char*>(m.values) + (row * m.cols + first) * (kBits / 8);
               columns % kEach == 0 && reinterpret_cast<uintptr_t>(m.values) % 16 == 0) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) w[i] = LoadWeights(at + 16 * i, wanted && first + i * kEach < columns);
    } else {
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        const auto word = [&](int j) -> uint32_t {
          const int column = first + i * kEach + j * (kEach / 4);
          if constexpr (F == WeightFormat::kF32) return wanted && column < columns ? __ldg(reinterpret_cast<const uint32_t*>(at) + i * kEach + j) : 0;
          const unsigned short* pair = reinterpret_cast<const unsigned short*>(at) + i * kEach + 2 * j;
          const uint32_t low = wanted && column < columns ? __ldg(pair) : 0, high = wanted && column + 1 < columns ? __ldg(pair + 1) : 0;
          return high << 16 | low;
        };
        w[i] = make_uint4(word(0), word(1), word(2), word(3));
      }
    }
  }
  __device__ __forceinline__ float Dot(const Staged& x, int group) const {
    if constexpr (F == WeightFormat::kQ4) return HalfToFloat(scale) * Q4Group(w[0], ReadGroup(x, group));
    if constexpr (F == WeightFormat::kQ8) return HalfToFloat(scale) * Q8Group(w[0], w[1], ReadGroup(x, group));
    const float4* f = reinterpret_cast<const float4*>(x.f + group * kGroup);
    float sum = 0;
    if constexpr (F == WeightFormat::kBf16) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) sum += Bf16Pairs(w[i], f[2 * i], f[2 * i + 1]);
    }
    if constexpr (F == WeightFormat::kF32) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        sum = fmaf(__uint_as_float(w[i].x), f[i].x, sum);
        sum = fmaf(__uint_as_float(w[i].y), f[i].y, sum);
        sum = fmaf(__uint_as_float(w[i].z), f[i].z, sum);
        sum = fmaf(__uint_as_float(w[i].w), f[i].w, sum);
      }
    }
    return sum;
  }
};

inline constexpr int kExpandThreads = 512, kExpandChunks = kExpandColumns / 4;
inline constexpr int kExpandSums = kExpandThreads / kExpandChunks;  // threads that share four columns
struct ExpandShared {
  float max[kMaxSlots], total[kMaxSlots], weight[kMaxSlots];
  float4 sum[kExpandSums][kExpandChunks];
  float totals[kExpandSums];
  alignas(16) char latent[StagedBytes(kExpandColumns)];
  alignas(16) float4 values[];  // [room][kExpandChunks], columns of partials
};
constexpr size_t ExpandBytes(int room) { return sizeof(ExpandShared) + room * kExpandColumns * sizeof(float); }
// Partials that `bytes` of shared memory have room for, at least one.
constexpr int ExpandRoom(size_t bytes) {
  int room = kMaxSlots;
  while (room > 1 && ExpandBytes(room) > bytes) --room;
  return room;
}

// Expanding a head: rows [0, end) of its W_V times latent columns [share * kExpandColumns, + kExpandColumns). kExpandThreads threads,
// eight a row; their first rows can be asked for before the attention is done.
template <WeightFormat F>
struct Expansion {
  static constexpr int kSharers = kExpandColumns / kGroup, kRows = kExpandThreads / kSharers;
  static constexpr int kAhead = 2;  // rows of a thread that are asked for ahead: all of the 48B model's
  int h, share, end;
  RowGroup<F> ahead[kAhead];

  __device__ __forceinline__ void LoadRow(const MlaTask& a, int base, RowGroup<F>& group) const {
    const int v = base + ThreadId() / kSharers, column = share * kSharers + ThreadId() % kSharers;
    group.Load(a.kv_b, static_cast<int64_t>(h) * (a.N + a.V) + a.N + v, column, v < end && column * kGroup < a.R);
  }
  __device__ __forceinline__ void Load(const MlaTask& a) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) LoadRow(a, i * kRows, ahead[i]);
  }

  // out[v] = W_V latent, or that more, of this share's columns. `partials` are the head's, `stride` floats apart, one for each of `n_slots`
  // slots; `x` has room for the columns of `room` of them.
  __device__ __forceinline__ void Run(const MlaTask& a, const float* partials, int64_t stride, int n_slots, int room, float* out, bool add,
                                      ExpandShared& x) const {
    Combine(a, partials, stride, n_slots, room, x);
    Staged latent = PlaceStaged(x.latent, kExpandColumns);
    if constexpr (IsQuantized(F)) latent.f = nullptr;
    else latent.q = nullptr;
    if (ThreadId() < kExpandColumns) {
      const int r = ThreadId();
      float sum = 0, total = 0;
#pragma unroll
      for (int i = 0; i < kExpandSums; ++i) sum += reinterpret_cast<const float*>(x.sum[i])[r], total += x.totals[i];
      StageGroup(latent, r / kGroup, share * kExpandColumns + r < a.R ? __fdividef(sum, total) : 0.0f);
    }
    SyncWorkers();
    const auto put = [&](int base, const RowGroup<F>& group) {
      const float y = LaneSum<kSharers>(group.Dot(latent, ThreadId() % kSharers));
      const int v = base + ThreadId() / kSharers;
      if (v < end && ThreadId() % kSharers == 0) out[v] = add ? out[v] + y : y;
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) put(i * kRows, ahead[i]);
#pragma unroll 1
    for (int base = kAhead * kRows; base < end; base += kRows) {
      RowGroup<F> group;
      LoadRow(a, base, group);
      put(base, group);
    }
    SyncWorkers();
  }

 private:
  // This share's weighted sums of the partials, in kExpandSums parts of every kExpandSums-th slot. The partials come to shared memory first: so
  // many loads are in flight at once as no thread has registers for.
  __device__ __forceinline__ void Combine(const MlaTask& a, const float* partials, int64_t stride, int n_slots, int room, ExpandShared& x) const {
    const int chunk = ThreadId() % kExpandChunks, column = share * kExpandColumns + 4 * chunk, part = ThreadId() / kExpandChunks;
    const auto ask = [&](int from) {
#pragma unroll 1
      for (int i = part; i < min(room, n_slots - from); i += kExpandSums) {
        if (column < a.R) CopyAsync16(SharedAddress(&x.values[i * kExpandChunks + chunk]), partials + (from + i) * stride + column);
      }
    };
    ask(0);
#pragma unroll 1
    for (int s = ThreadId(); s < n_slots; s += kExpandThreads) {
      const float2 statistics = __ldcg(reinterpret_cast<const float2*>(partials + s * stride + StatisticsAt(a.R)));
      x.max[s] = statistics.x, x.total[s] = statistics.y;
    }
    SyncWorkers();
    float max = -INFINITY;
#pragma unroll 1
    for (int s = ThreadId() % kWarp; s < n_slots; s += kWarp) max = fmaxf(max, x.max[s]);
    max = WarpMax(max);
#pragma unroll 1
    for (int s = ThreadId(); s < n_slots; s += kExpandThreads) x.weight[s] = exp2f(x.max[s] - max);
    float4 sum = make_float4(0, 0, 0, 0);
    float total = 0;
#pragma unroll 1
    for (int from = 0;; ask(from)) {
      asm volatile("cp.async.wait_all;" ::: "memory");
      SyncWorkers();
#pragma unroll 2
      for (int i = part; i < min(room, n_slots - from); i += kExpandSums) {
        const float weight = x.weight[from + i];
        const float4 value = x.values[i * kExpandChunks + chunk];
        total = fmaf(weight, x.total[from + i], total);
        sum.x = fmaf(weight, value.x, sum.x);
        sum.y = fmaf(weight, value.y, sum.y);
        sum.z = fmaf(weight, value.z, sum.z);
        sum.w = fmaf(weight, value.w, sum.w);
      }
      from += room;
      if (from >= n_slots) break;
      SyncWorkers();
    }
    x.sum[part][chunk] = sum;
    if (chunk == 0) x.totals[part] = total;
    SyncWorkers();
  }
};

// A row for the cache: [RmsNorm(kv[0:R]) | kv[R:R+P]], kv(i) being value i, to put(i, x). `scratch` holds kMaxWarps floats. One round trip to memory for
// rows of at most kWorkers values.
template <typename Values, typename Put>
__device__ __forceinline__ void MakeRow(const MlaTask& a, Values kv, const float* weight, float eps, float* scratch, Put put) {
  const int n = a.R + a.P, i = ThreadId();
  const float norm = i < a.R ? __ldg(weight + i) : 0.0f, value = i < n ? kv(i) : 0.0f;
  float sum = i < a.R ? value * value : 0.0f;
#pragma unroll 1
  for (int j = i + kWorkers; j < a.R; j += kWorkers) {
    const float other = kv(j);
    sum = fmaf(other, other, sum);
  }
  const float root = sqrtf(BlockSum<kWorkers / kWarp>(sum, scratch) / static_cast<float>(a.R) + eps);
  if (i < n) put(i, i < a.R ? value / root * norm : value);
#pragma unroll 1
  for (int j = i + kWorkers; j < n; j += kWorkers) {
    const float other = kv(j);
    put(j, j < a.R ? other / root * __ldg(weight + j) : other);
  }
}
// Value i of row `position`.
__device__ __forceinline__ void PutInCache(const MlaTask& a, int64_t position, int i, float x) {
  char* row = const_cast<char*>(CacheRow(a.cache, position, CacheRowBytes(a)));
  if (a.cache.dtype == DType::kF32) reinterpret_cast<float*>(row)[i] = x;
  else reinterpret_cast<Bf16*>(row)[i] = ToBf16(x);
}

}  // namespace rill::cuda
