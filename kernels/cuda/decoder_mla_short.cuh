// kernels/cuda/decoder_mla_short.cuh — the MLA mixer of a short context within a fused decode step: attention by heads.
//
// Attention over tiles has all heads in one block a tile, and barriers across the grid between absorb, attend and expand: of a context of a few tiles
// nearly all of it is waiting. Here four blocks have a head. Each absorbs a quarter of the latent's columns, attends a quarter of the context by plain
// arithmetic and expands a quarter of the values, and what they hand each other carries marks. A row of the cache is read by as many blocks as there are
// heads, so that tiles win when there are many rows.
#pragma once

#include "kernels/cuda/decoder_mla.cuh"

namespace rill::cuda {

static_assert(AbsorbParts(kTileLatent) == kShortParts && kTileLatent == kStepThreads, "a thread has a latent column");
inline constexpr int kRowChunks = kTileRow / 8;  // of sixteen bytes
inline constexpr int kShortRows = 32;            // rows of the cache that a block takes at a time, and
inline constexpr int kRowLanes = kStepThreads / kShortRows;  // threads that bring and score one of them

struct ShortShared {
  float4 query[2][kRowChunks];  // first and second four of each eight, so that neighbouring chunks fall into different banks
  float score[kShortRows];
  uint4 row[kShortRows][kRowChunks];
};
static_assert(StagedFloatBytes(kTileLatent) <= sizeof(ShortShared::query) && StagedQuantBytes(kTileLatent) <= sizeof(ShortShared::query), "the latent's place");

__device__ __forceinline__ int CountShortUnits(Step s) { return TaskOf(s).H * kShortParts; }  // unit: head, part
__device__ __forceinline__ float* ShortQuery(Step s, int h) { return s.p().scratch.short_queries + h * kTileRow; }
__device__ __forceinline__ float* ShortPartial(Step s, int part, int h) {
  return s.p().scratch.short_partials + (part * static_cast<int>(s.l().mla.shape.n_heads) + h) * PartialFloats(kTileLatent);
}

// ---- absorb; behind the last unit comes the new row of the cache -----------------------------------------------------------

inline __device__ __noinline__ void ShortAppend(Step s) {
  const unsigned mark = s.short_mark();
  MlaAppend(s, [&](int i, float x) { s.p().scratch.short_row[i] = Marked(ToFloat(ToBf16(x)), mark); });
}
template <WeightFormat F>
__device__ __forceinline__ void ShortAbsorb(Step s) {
#pragma unroll 1
  for (int i = BlockId(); i <= CountShortUnits(s); i += GridSize()) {
    if (i == CountShortUnits(s)) return ShortAppend(s);
    const AbsorbUnit<F> unit(s, i);
    float* to = ShortQuery(s, unit.h);
    const unsigned mark = s.short_mark();
    unit.Run(s, [&](int c, float x) { to[c] = Marked(x, mark); });
  }
}

// ---- attend -----------------------------------------------------------------------------------------------------------

// Where a layer's rows lie: the feeders look it up, ahead.
__device__ __forceinline__ void FindPages(Step s) {
  const int page = ThreadId() % kWarp;
  if (!s.p().is_short || s.l().is_kda || page >= kShortContext / kPageTokens || page * kPageTokens > s.p().position) return;
  s.shared().page[s.index % kLayersKept][page] = s.l().mla.cache.pages[page];
}

// Starts the copy of rows first .. end - 1 of the cache, which earlier launches have written; at most kShortRows.
__device__ __forceinline__ void AskRows(Step s, ShortShared& x, int first, int end) {
  const int row = ThreadId() / kRowLanes, lane = ThreadId() % kRowLanes, t = first + row;
  if (t >= end) return;
  const char* page = static_cast<const char*>(s.shared().page[s.index % kLayersKept][t / kPageTokens]) + s.l().mla.cache.layer_offset;
  const char* from = page + t % kPageTokens * (kTileRow * 2) + lane * 16;
  const uint32_t to = SharedAddress(&x.row[row][lane]);
#pragma unroll
  for (int i = 0; i < kRowChunks; i += kRowLanes) {
    if (i + lane < kRowChunks) CopyAsync16(to + i * 16, from + i * 16);
  }
}
// The newest row, from ShortAppend(), by one warp. Its values are bf16 already: rounding takes their marks away.
__device__ __forceinline__ void TakeNewestRow(Step s, uint4* row) {
  constexpr int kEach = kTileRow / 2 / kWarp;
  const int lane = ThreadId() % kWarp;
  const float* from = s.p().scratch.short_row + 2 * lane;
  const unsigned mark = s.short_mark();
  float2 pair[kEach];
  AwaitMarks([&] {
    unsigned missing = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) missing |= Missing(pair[i] = LoadRelaxed2(from + 2 * kWarp * i), mark);
    return missing;
  });
#pragma unroll
  for (int i = 0; i < kEach; ++i) reinterpret_cast<uint32_t*>(row)[kWarp * i + lane] = Bf16Pair(pair[i].x, pair[i].y);
}
// The absorbed query, scaled for powers of two.
__device__ __forceinline__ void TakeQuery(Step s, ShortShared& x, int h) {
  constexpr int kRope = kTileRow - kTileLatent;
  const float *latent = ShortQuery(s, h) + ThreadId(), *rope = ThreadId() < kRope ? latent + kTileLatent : latent;
  const unsigned mark = s.short_mark();
  float q, r;
  AwaitMarks([&] { return Missing(q = LoadRelaxed(latent), mark) | Missing(r = LoadRelaxed(rope), mark); });
  const float scale = s.l().mla.scale * kLog2E;
  const auto put = [&](int i, float value) { reinterpret_cast<float*>(&x.query[i / 4 % 2][i / 8])[i % 4] = Unmarked(value) * scale; };
  put(ThreadId(), q);
  if (ThreadId() < kRope) put(kTileLatent + ThreadId(), r);
}

// The scores of the n rows in shared memory.
__device__ __forceinline__ void ScoreRows(ShortShared& x, int n) {
  const int row = ThreadId() / kRowLanes, lane = ThreadId() % kRowLanes;
  float score = 0;
  if (row < n) {
#pragma unroll
    for (int i = 0; i < kRowChunks; i += kRowLanes) {
      if (i + lane < kRowChunks) score += Bf16Pairs(x.row[row][i + lane], x.query[0][i + lane], x.query[1][i + lane]);
    }
  }
  score = LaneSum<kRowLanes>(score);
  if (lane == 0) x.score[row] = row < n ? score : -INFINITY;
}

// What the rows so far come to, relative to 2^max: a thread has its latent column's sum and its lane's share of the total.
struct ShortSums {
  float max = -INFINITY, total = 0, sum = 0;

  // The n rows in shared memory, whose scores are there.
  __device__ __forceinline__ void Add(const ShortShared& x, int n) {
    static_assert(kShortRows == kWarp, "a lane has a row's weight");
    const float score = x.score[ThreadId() % kWarp];
    const float most = WarpMax(fmaxf(max, score));
    const float keep = exp2f(max - most), weight = exp2f(score - most);
    max = most, total = fmaf(total, keep, weight), sum *= keep;
    const unsigned short* column = reinterpret_cast<const unsigned short*>(x.row) + ThreadId();
#pragma unroll 4
    for (int i = 0; i < n; ++i) sum = fmaf(__shfl_sync(0xffffffffu, weight, i), __uint_as_float(uint32_t{column[i * kTileRow]} << 16), sum);
  }
};

// A part's rows of one head into its partial, marked.
__device__ __forceinline__ void ShortAttend(Step s, int unit) {
  const int h = unit / kShortParts, part = unit % kShortParts, length = static_cast<int>(s.p().position) + 1;
  const int begin = length * part / kShortParts, end = length * (part + 1) / kShortParts, newest = length - 1;
  ShortShared& x = *reinterpret_cast<ShortShared*>(s.memory());
  AskRows(s, x, begin, min(end, newest));
  TakeQuery(s, x, h);
  ShortSums sums;
#pragma unroll 1
  for (int first = begin; first < end; first += kShortRows) {
    const int n = min(kShortRows, end - first);
    if (first != begin) {
      SyncWorkers();
      AskRows(s, x, first, min(end, newest));
    }
    if (newest - first < n && ThreadId() / kWarp == kStepWarps - 1) TakeNewestRow(s, x.row[newest - first]);
    asm volatile("cp.async.wait_all;" ::: "memory");
    SyncWorkers();
    ScoreRows(x, n);
    SyncWorkers();
    sums.Add(x, n);
  }
  const unsigned mark = s.short_mark();
  float* to = ShortPartial(s, part, h);
  to[ThreadId()] = Marked(sums.sum, mark);
  if (ThreadId() < kWarp) {
    const float total = LaneSum(sums.total);
    if (ThreadId() == 0) *reinterpret_cast<float2*>(to + StatisticsAt(kTileLatent)) = make_float2(Marked(sums.max, mark), Marked(total, mark));
  }
}

// ---- expand -----------------------------------------------------------------------------------------------------------

// A quarter of a head's values from its four partials, marked.
template <WeightFormat F>
__device__ __forceinline__ void ShortExpand(Step s, int unit) {
  constexpr int kGroups = kTileLatent / kGroup, kRows = kStepThreads / kGroups;
  const MlaTask a = TaskOf(s);
  const int h = unit / kShortParts, part = unit % kShortParts, end = a.V * (part + 1) / kShortParts, group = ThreadId() % kGroups;
  const int64_t first = static_cast<int64_t>(h) * (a.N + a.V) + a.N;
  int v = a.V * part / kShortParts + ThreadId() / kGroups;
  RowGroup<F> row;
  row.Load(a.kv_b, first + v, group, v < end);
  const unsigned mark = s.short_mark();
  float value[kShortParts];
  float2 statistics[kShortParts];
  AwaitMarks([&] {
    unsigned missing = 0;
#pragma unroll
    for (int i = 0; i < kShortParts; ++i) {
      const float* from = ShortPartial(s, i, h);
      missing |= Missing(value[i] = LoadRelaxed(from + ThreadId()), mark) | Missing(statistics[i] = LoadRelaxed2(from + StatisticsAt(kTileLatent)), mark);
    }
    return missing;
  });
  float max = -INFINITY, sum = 0, total = 0;
#pragma unroll
  for (int i = 0; i < kShortParts; ++i) statistics[i] = Unmarked(statistics[i]), max = fmaxf(max, statistics[i].x);
#pragma unroll
  for (int i = 0; i < kShortParts; ++i) {
    const float factor = exp2f(statistics[i].x - max);
    sum = fmaf(factor, Unmarked(value[i]), sum), total = fmaf(factor, statistics[i].y, total);
  }
  const Staged latent = PlaceForm<F>(s.memory());  // over the query; of the rows some threads may still read
  StageGroup(latent, ThreadId() / kGroup, __fdividef(sum, total));
  SyncWorkers();
  float* out = s.p().scratch.short_values + h * a.V;
#pragma unroll 1
  for (;; row.Load(a.kv_b, first + v, group, v < end)) {
    const float y = LaneSum<kGroups>(row.Dot(latent, group));
    if (v < end && group == 0) out[v] = Marked(y, mark);
    if (v - ThreadId() / kGroups + kRows >= end) break;
    v += kRows;
  }
}

// The heads' values staged for the output projection. Ends behind a barrier of the workers.
template <WeightFormat F>
__device__ __forceinline__ void StageShortValues(Step s) {
  const int n = static_cast<int>(s.l().o.cols), padded = (n + kGroup - 1) / kGroup * kGroup;
#pragma unroll 1
  for (int i = ThreadId(); 8 * (i - i % kWarp) < padded; i += kStepThreads) {
    StageEight<F>(s.memory(), AwaitEight(s.p().scratch.short_values, i, n, s.short_mark()), i, padded);
  }
  SyncWorkers();
}

}  // namespace rill::cuda
