// kernels/cuda/sm90/mla_tile.cuh — the attention over tiles (mla_tile.cuh) by warpgroup products, for sm_90a. The same plan, the same partials.
//
// The portable attention on an H200 waits for instructions and shared memory, not for DRAM: each value of a tile passes through registers on its
// way to the matrix units, keys twice. Here the matrix units read the tiles where they lie. Rows of the cache are outputs' rows in both
// products, S^T = K Q^T and O^T = V^T P^T: 64 of them fill an instruction, for which 32 heads would be too few. A warpgroup has one role:
//   scorers     S^T, 64 rows x 32 heads, and the softmax. Weights go to shared memory, along with what earlier sums are to be multiplied by.
//   summers     two: O^T, 256 latent columns x 32 heads each, in registers.
//   producers   bring tiles and queries. 64 rows are a stage, 32 of them a place in the ring; each of the four warps has a place of its own, so that
//               it can wait for a copy's end without keeping another from its beginning.
// Copies are cp.async, which finds the factors' places (wgmma.cuh) and zeros for rows that there are not by itself.
#pragma once

#include "kernels/cuda/mla_tile.cuh"
#include "kernels/cuda/sm90/wgmma.cuh"

namespace rill::cuda::sm90 {

inline constexpr int kStages = 2, kStageTiles = 2, kPlaces = kStages * kStageTiles;
inline constexpr int kStageRows = kStageTiles * kMlaTile;
inline constexpr int kPanels = kTileRow * 2 / kPanelRow;
inline constexpr int kTilePanel = kStageRows * kPanelRow, kQueryPanel = kTileHeads * kPanelRow;  // bytes
inline constexpr int kRingStage = kPanels * kTilePanel, kQueryBytes = kPanels * kQueryPanel;
inline constexpr int kWeightBytes = kTileHeads * kPanelRow;  // of a stage's rows: a panel

inline constexpr int kSummerGroups = 2, kProducers = kTileThreads - kWarpgroup;  // the first producer
inline constexpr int kGroupLatent = kTileLatent / kSummerGroups, kBlocks = kGroupLatent / 64;  // a product has 64 outputs' rows
inline constexpr int kScorerWarps = kWarpgroup / kWarp, kScorerBarrier = 3;  // beside those of TileBarrier
static_assert(kStageRows == kWgmmaRows && kStageRows * 2 == kPanelRow && kTileHeads == kWarp, "a product has 64 x 32 outputs, a lane a head");
static_assert(kTileThreads == (2 + kSummerGroups) * kWarpgroup && kPlaces * kWarp == kWarpgroup);

// In front of weights, queries and stages, which begin at a multiple of kAtomBytes.
struct TileShared {
  TilePlan plan;
  uint64_t asked;                    // signal: the queries are there
  uint64_t full[kPlaces], free[kPlaces];
  uint64_t weights[kStages];         // signal: those of a stage. They are free when the next stage in its place is full
  float max[kStages][kScorerWarps][kTileHeads];  // of each warp's rows
  float total[kScorerWarps][kTileHeads];         // of each warp's rows, in the end
  float keep[kStages][kTileHeads];   // when `moved`: what the sums of the stages before are to be multiplied by
  int moved[kStages];
};

constexpr size_t TileSharedBytes() { return sizeof(TileShared) + kAtomBytes + kStages * kWeightBytes + kQueryBytes + kStages * kRingStage; }

__device__ __forceinline__ int StagesOf(const TilePlan& plan) { return (plan.end - plan.first + kStageTiles - 1) / kStageTiles; }

__device__ __forceinline__ void SetSignals(TileShared& x) {
  SetSignal(x.asked, kWarpgroup);
#pragma unroll
  for (int i = 0; i < kPlaces; ++i) SetSignal(x.full[i], kWarp), SetSignal(x.free[i], kSummerGroups * kWarpgroup / kWarp);
#pragma unroll
  for (int i = 0; i < kStages; ++i) SetSignal(x.weights[i], kWarpgroup);
}
__device__ __forceinline__ void EndSignals(TileShared& x) {
  EndSignal(x.asked);
#pragma unroll
  for (int i = 0; i < kPlaces; ++i) EndSignal(x.full[i]), EndSignal(x.free[i]);
#pragma unroll
  for (int i = 0; i < kStages; ++i) EndSignal(x.weights[i]);
}

// A thread's number, and where panels lie. Found anew in each phase: this is part of the kernel, not a function that is called, and what the compiler
// could find once for all layers it would keep in local memory.
struct Me {
  int lane, warp;  // the warp's number in its warpgroup
  uint32_t panels;

  __device__ __forceinline__ explicit Me(const TileShared& x) {
    int thread;
    uint32_t at;
    asm volatile("mov.u32 %1, %2;\n\tmov.u32 %0, %%tid.x;" : "=r"(thread), "=r"(at) : "r"(SharedAddress(&x)));
    lane = thread & (kWarp - 1), warp = thread / kWarp & (kWarpgroup / kWarp - 1);
    panels = (at + static_cast<uint32_t>(sizeof(TileShared)) + kAtomBytes - 1) / kAtomBytes * kAtomBytes;
  }
  __device__ __forceinline__ uint32_t weights(int place) const { return panels + place * kWeightBytes; }
  __device__ __forceinline__ uint32_t queries() const { return weights(kStages); }
  __device__ __forceinline__ uint32_t stage(int place) const { return queries() + kQueryBytes + place * kRingStage; }
};

// ---- producers ---------------------------------------------------------------------------------------------------------

// Starts the copy of rows [first, first + 8) of the `n` at `from` into panels whose row 0 lies at `to`, each `kPanel` bytes behind the one before;
// rows that there are not become zeros. A warp: eight lanes a row.
template <int kPanel>
__device__ __forceinline__ void FetchRows(const Me& me, const char* from, int first, int n, uint32_t to) {
  const int chunk = me.lane % 8;
  const uint64_t once = OncePolicy();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = first + 4 * i + me.lane / 8, bytes = row < n ? 16 : 0;
    const char* source = from + (row < n ? row * (kTileRow * 2) : 0) + chunk * 16;
    const uint32_t target = to + PlaceOf(row, chunk);
#pragma unroll
    for (int j = 0; j < kPanels; ++j) CopyOnce16(target + j * kPanel, source + j * kPanelRow, bytes, once);
  }
}
// A tile's rows in the cache. One behind the plan's end, the second half of a last stage, has none.
struct TileRows {
  const char* from;
  int n;

  __device__ __forceinline__ TileRows(const TilePlan& plan, int tile)
      : from(plan.Rows(min(tile, plan.end - 1))), n(tile < plan.end ? plan.RowsOf(tile) : 0) {}
};
// Starts their copy into a place of the ring. A warp.
__device__ __forceinline__ void FetchTile(const Me& me, const TileRows& rows, int place) {
  const uint32_t to = me.stage(place / kStageTiles) + place % kStageTiles * (kMlaTile * kPanelRow);
#pragma unroll 1
  for (int row = 0; row < kMlaTile; row += 8) FetchRows<kTilePanel>(me, rows.from, row, rows.n, to);
}

// Whether AskTiles() starts the copy of a place's first tile: as far as nothing in it waits for this step.
__device__ __forceinline__ bool AsksFirst(const TilePlan& plan, int place) {
  return plan.first + place < plan.end && plan.Knows(plan.first + place);
}
// All threads, before AttendTiles() of the same plan.
__device__ __forceinline__ void AskTiles(const TileShared& x) {
  if (ThreadId() < kProducers) return;
  const Me me(x);
  if (AsksFirst(x.plan, me.warp)) FetchTile(me, TileRows(x.plan, x.plan.first + me.warp), me.warp);
}

// All but this thread's newest kLeft groups of copies have landed, and the products may have them.
template <int kLeft>
__device__ __forceinline__ void ShowCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
  ShowToProducts();
}

__device__ __forceinline__ void BringTiles(TileShared& x) {
  const Me me(x);
  const int place = me.warp, first = x.plan.first + place, end = x.plan.first + StagesOf(x.plan) * kStageTiles;
  FetchRows<kQueryPanel>(me, reinterpret_cast<const char*>(x.plan.queries), 8 * place, x.plan.heads, me.queries());
  CommitCopies();
  if (first < end && !AsksFirst(x.plan, place)) FetchTile(me, TileRows(x.plan, first), place);
  CommitCopies();
  ShowCopies<1>();
  Arrive(x.asked);
#pragma unroll 1
  for (int tile = first, use = 0; tile < end; ++use) {
    ShowCopies<0>();
    Arrive(x.full[place]);
    tile += kPlaces;
    if (tile >= end) break;
    const TileRows rows(x.plan, tile);  // a trip to memory, while the place is in use
    Await(x.free[place], use);
    FetchTile(me, rows, place);
    CommitCopies();
  }
}

// ---- scorers -----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A lane's columns of sums are eight heads, HeadOf(lane, 0) and so on. Over the warp's rows each lane has one head, HeadOf(lane, lane / 4).
__device__ __forceinline__ int HeadOf(int lane, int column) { return column / 2 * 8 + lane % 4 * 2 + column % 2; }
// The columns over the warp's rows: halves are exchanged until a lane has one column left. The bits are the same every time.
template <typename Op>
__device__ __forceinline__ float OverRows(const Me& me, float (&x)[8], Op op) {
#pragma unroll
  for (int n = 4; n > 0; n /= 2) {
    const bool high = (me.lane & 4 * n) != 0;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float theirs = __shfl_xor_sync(0xffffffffu, high ? x[i] : x[i + n], 4 * n);
      x[i] = op(high ? x[i + n] : x[i], theirs);
    }
  }
  return x[0];
}
// Of what each lane has for its head, the one for a column of this lane.
__device__ __forceinline__ float OfColumn(const Me& me, float x, int column) { return __shfl_sync(0xffffffffu, x, 4 * column + me.lane % 4); }

// Scores of stage `stage`, in its place, to the base of 2: rows behind the plan's are minus infinity.
__device__ __forceinline__ void ScoreStage(const Me& me, const TileShared& x, int stage, float (&s)[16]) {
  const uint32_t k = Describe(me.stage(stage % kStages)), q = Describe(me.queries());
#pragma unroll
  for (int i = 0; i < 16; ++i) s[i] = 0;
  Take(s);
  BeginProducts();
#pragma unroll
  for (int panel = 0; panel < kPanels; ++panel) {
#pragma unroll
    for (int i = 0; i < kPanelRow; i += 32) MultiplyAsync<false>(s, Further(k, panel * kTilePanel + i), Further(q, panel * kQueryPanel + i));
  }
  CommitProducts();
  AwaitProducts<0>();
  Take(s);
  const float scale = x.plan.scale;
#pragma unroll
  for (int i = 0; i < 16; ++i) s[i] *= scale;
  const int begin = (x.plan.first + stage * kStageTiles) * kMlaTile, left = min(x.plan.length, x.plan.end * kMlaTile) - begin;
  if (left >= kStageRows) return;
  const int row = me.warp * 16 + me.lane / 4;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (row + i / 2 % 2 * 8 >= left) s[i] = -INFINITY;
  }
}

// Softmax's weights of a stage go to its place, in bf16: [head][row], as the products take them. What is rounded is summed up.
__device__ __forceinline__ void WriteWeights(const Me& me, const float (&s)[16], float max, uint32_t weights_at, float (&total)[8]) {
  const int matrix = me.lane / 8;
  const uint32_t to = weights_at + PlaceOf(matrix / 2 * 8 + me.lane % 8, 2 * me.warp + matrix % 2);
#pragma unroll
  for (int j = 0; j < 4; j += 2) {
    uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float low = OfColumn(me, max, 2 * (j + i)), high = OfColumn(me, max, 2 * (j + i) + 1);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int at = 4 * (j + i) + 2 * r;
        const uint32_t pair = Bf16Pair(Exp2(s[at] - low), Exp2(s[at + 1] - high));
        total[2 * (j + i)] += Bf16Low(pair), total[2 * (j + i) + 1] += Bf16High(pair);
        pairs[2 * i + r] = pair;
      }
    }
    StoreTransposed(to + j * 8 * kPanelRow, pairs);
  }
}

__device__ __forceinline__ void ScoreTiles(TileShared& x) {
  const Me me(x);
  const int n = StagesOf(x.plan);
  float max = -INFINITY, total[8] = {};  // of the lane's head over all rows; of its columns over its rows
  Await(x.asked, 0);
#pragma unroll 1
  for (int stage = 0; stage < n; ++stage) {
    const int now = stage % kStages;
#pragma unroll
    for (int i = 0; i < kStageTiles; ++i) Await(x.full[now * kStageTiles + i], stage / kStages);
    float s[16], columns[8];
    ScoreStage(me, x, stage, s);
#pragma unroll
    for (int i = 0; i < 8; ++i) columns[i] = fmaxf(s[i / 2 * 4 + i % 2], s[i / 2 * 4 + i % 2 + 2]);
    x.max[now][me.warp][me.lane] = OverRows(me, columns, [](float a, float b) { return fmaxf(a, b); });
    MeetAt(kScorerBarrier, kWarpgroup);
    float new_max = max;
#pragma unroll
    for (int i = 0; i < kScorerWarps; ++i) new_max = fmaxf(new_max, x.max[now][i][me.lane]);
    const float keep = Exp2(max - new_max);
    max = new_max;
    const bool moved = __any_sync(0xffffffffu, keep != 1.0f);
    if (moved) {
#pragma unroll
      for (int i = 0; i < 8; ++i) total[i] *= OfColumn(me, keep, i);
      if (me.warp == 0) x.keep[now][HeadOf(me.lane, me.lane / 4)] = keep;
    }
    if (me.warp == 0 && me.lane == 0) x.moved[now] = moved;
    WriteWeights(me, s, max, me.weights(now), total);
    ShowToProducts();
    Arrive(x.weights[now]);
  }
  x.total[me.warp][me.lane] = OverRows(me, total, [](float a, float b) { return a + b; });
  MeetAt(kScorerBarrier, kWarpgroup);
  const int head = HeadOf(me.lane, me.lane / 4);
  if (me.warp > 0 || head >= x.plan.heads) return;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kScorerWarps; ++i) sum += x.total[i][me.lane];
  *reinterpret_cast<float2*>(x.plan.partials + head * kPartialStride + StatisticsAt(kTileLatent)) = make_float2(max, sum);
}

// ---- summers -----------------------------------------------------------------------------------------------------------

// What is summed so far, relative to a maximum that has moved.
__device__ __forceinline__ void Rescale(const Me& me, const TileShared& x, int now, float (&sums)[kBlocks][16]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float2 keep = *reinterpret_cast<const float2*>(&x.keep[now][HeadOf(me.lane, 2 * j)]);
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
      sums[m][4 * j] *= keep.x;
      sums[m][4 * j + 1] *= keep.y;
      sums[m][4 * j + 2] *= keep.x;
      sums[m][4 * j + 3] *= keep.y;
    }
  }
}

// Starts the products of a tile of a stage, as a group.
__device__ __forceinline__ void MultiplyTile(uint32_t v, uint32_t p, int tile, float (&sums)[kBlocks][16]) {
#pragma unroll
  for (int i = 0; i < kMlaTile; i += 16) {
    const int row = tile * kMlaTile + i;
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) MultiplyAsync<true>(sums[m], Further(v, m * kTilePanel + row * kPanelRow), Further(p, row * 2));
  }
  CommitProducts();
}

__device__ __forceinline__ void WriteSums(const Me& me, const TileShared& x, int latent, const float (&sums)[kBlocks][16]) {
  const int heads = x.plan.heads;
  float* partials = x.plan.partials + latent + me.warp * 16 + me.lane / 4;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int head = HeadOf(me.lane, i);
    if (head >= heads) continue;
    float* to = partials + head * kPartialStride;
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) to[64 * m + 8 * r] = sums[m][i / 2 * 4 + 2 * r + i % 2];
    }
  }
}

__device__ __forceinline__ void SumTiles(TileShared& x) {
  const Me me(x);
  const int latent = ThreadId() < 2 * kWarpgroup ? 0 : kGroupLatent, n = StagesOf(x.plan);
  float sums[kBlocks][16] = {};
#pragma unroll 1
  for (int stage = 0; stage < n; ++stage) {
    const int now = stage % kStages;
    const uint32_t v = Describe(me.stage(now) + latent / 64 * kTilePanel), p = Describe(me.weights(now));
    Await(x.weights[now], stage / kStages);
    if (x.moved[now]) Rescale(me, x, now, sums);
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) Take(sums[m]);
    BeginProducts();
#pragma unroll
    for (int i = 0; i < kStageTiles; ++i) MultiplyTile(v, p, i, sums);
    // A warp's lanes wait for their products together, so one of them can speak for all.
    AwaitProducts<1>();
    if (me.lane == 0) Arrive(x.free[now * kStageTiles]);
    AwaitProducts<0>();
    if (me.lane == 0) Arrive(x.free[now * kStageTiles + 1]);
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) Take(sums[m]);
  }
  WriteSums(me, x, latent, sums);
}

// What is planned in x; the signals are set. kTileThreads threads. Ends behind a barrier of the block.
__device__ __forceinline__ void AttendTiles(TileShared& x) {
  if (ThreadId() < kWarpgroup) ScoreTiles(x);
  else if (ThreadId() < kProducers) SumTiles(x);
  else BringTiles(x);
  SyncWorkers();
}

}  // namespace rill::cuda::sm90
