// kernels/cuda/mla_tile.cuh — attention over the latent cache on the matrix units, for the shape of the 48B model: bf16
// rows of 512 + 64 values, up to 32 heads at once (fewer are padded with zero queries).
//
// Tiles of kMlaTile rows pass through a ring of stages in shared memory, filled with cp.async. Two halves of the block work on them at
// once, one tile apart, so that the softmax of one half hides behind the matrix products of the other:
//   scorers   8 warps. S = Q K^T: a warp takes 16 heads x all rows x a quarter of the 576 dimensions, its queries in registers for good,
//             because reading them anew for each tile is what shared memory has no time for. The quarters meet in shared memory, after
//             which a warp has 4 heads x 32 rows whole: the softmax's running maximum and sum.
//   summers   8 warps. O = P K: a warp takes all heads x 64 latent columns, accumulated in registers. They have time left and fill the
//             ring, too.
// Every instruction is sm_80's: mma.sync, ldmatrix, cp.async.
#pragma once

#include "kernels/cuda/mla.cuh"

namespace rill::cuda {

inline constexpr int kTileThreads = 512;
inline constexpr int kTileStride = 584;            // bf16; 73 x 16 bytes: eight rows of a matrix fall into different banks
inline constexpr int kWeightStride = kMlaTile + 8;  // bf16
inline constexpr int kMostStages = 5, kFewestStages = 3;
inline constexpr int kPartialStride = PartialFloats(kTileLatent);
inline constexpr int kStageBytes = kMlaTile * kTileStride * 2;
inline constexpr int kAskedTiles = 2;               // copies that may start before the queries are there

inline constexpr int kScorers = kTileThreads / 2;
inline constexpr int kQuarters = 4;
inline constexpr int kQuarterSteps = kTileRow / kQuarters / 16;  // of 16 dimensions
inline constexpr int kHalfRows = kMlaTile / 2;      // rows of a scorer
inline constexpr int kSummerColumns = kTileLatent / (kTileThreads / 2 / kWarp);
static_assert(kPageTokens % kMlaTile == 0 && kTileHeads == kMlaTile, "a tile lies in one page, and the queries pass through a stage");
static_assert(kTileThreads - kScorers == 8 * kMlaTile && kHalfRows == 16 && kScorers / kWarp == 2 * kQuarters);

// One block's work: tiles [first, end) of a cache for up to kTileHeads heads. It lies in shared memory, because registers are short, and one
// thread computes it, because code that runs once comes from far.
struct TilePlan {
  int first, end;
  int length, known;      // rows of the cache, and how many of them were there before the queries were
  int heads, stages;
  float scale;            // of the scores, to the base of 2
  bool last;              // of this block's plans
  const Bf16* queries;    // as PutQuery() left them
  float* partials;        // of those heads, kPartialStride apart
  const void* const* pages;
  uint64_t layer_offset;

  __device__ __forceinline__ int RowsOf(int tile) const { return min(length - tile * kMlaTile, kMlaTile); }
  __device__ __forceinline__ bool Knows(int tile) const { return min((tile + 1) * kMlaTile, length) <= known; }
  __device__ __forceinline__ const char* Rows(int tile) const {
    constexpr int kPageTiles = kPageTokens / kMlaTile;
    return static_cast<const char*>(pages[tile / kPageTiles]) + layer_offset + tile % kPageTiles * (kMlaTile * kTileRow * 2);
  }
};

struct TileShared {
  TilePlan plan;
  alignas(16) float4 score[2][kQuarters][kQuarters][kWarp];  // [half of the heads][quarter that sums up][quarter it is of][lane that does]
  Bf16 weight[2][kTileHeads][kWeightStride];     // of a tile and the one before it, as everything below
  float keep[2][kTileHeads];
};

constexpr size_t TileSharedBytes(int stages) { return AlignUp(sizeof(TileShared), 128) + size_t(stages) * kStageBytes; }
// How many stages `bytes` of shared memory have room for. Fewer than kFewestStages is not possible.
constexpr int CountStages(size_t bytes) {
  int stages = kMostStages;
  while (stages > kFewestStages && TileSharedBytes(stages) > bytes) --stages;
  return stages;
}

__device__ inline void LoadMatrix(uint32_t address, uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ inline void LoadMatrixTransposed(uint32_t address, uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ inline void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ uint32_t Bf16Pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// Barriers of parts of the block (1, 2: the scorers of half of the heads; sm90/mla_tile.cuh has 3, SyncWorkers() 5), and those between the
// halves: one half arrives, the other waits and meets. There are two of each of these, for even and odd tiles, as the half that arrives may be a tile
// ahead of the one that waits. An mbarrier would count every thread, and those that wait for it would ask again and again.
enum TileBarrier { kHalfBarrier = 1, kWeightsBarrier = 6, kFreeBarrier = 8 };
__device__ __forceinline__ void MeetAt(int barrier, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }
__device__ __forceinline__ void ArriveAt(int barrier, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }

// What the attention of sm90/mla_tile.cuh needs before a plan and behind it. Here are barriers only.
__device__ __forceinline__ void SetSignals(TileShared&) {}
__device__ __forceinline__ void EndSignals(TileShared&) {}

// All but the newest `n` groups of this thread's copies have landed.
__device__ __forceinline__ void WaitCopies(int n) {
  static_assert(kMostStages - 3 == 2);
  if (n >= 2) asm volatile("cp.async.wait_group 2;" ::: "memory");
  else if (n == 1) asm volatile("cp.async.wait_group 1;" ::: "memory");
  else asm volatile("cp.async.wait_group 0;" ::: "memory");
}

// Starts the copy of rows [0, n) at `from` into a stage; the rows behind them become zeros. The summers: eight lanes a row.
__device__ __forceinline__ void FetchRows(const char* from, int n, uint32_t stage) {
  const int row = (ThreadId() - kScorers) / 8, chunk = ThreadId() % 8, bytes = row < n ? 16 : 0;
  from += (row < n ? row * (kTileRow * 2) : 0) + chunk * 16;
  stage += row * (kTileStride * 2) + chunk * 16;
  const uint64_t once = OncePolicy();  // as the weights
#pragma unroll
  for (int j = 0; j < kTileRow / 64; ++j) {
    asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;"
                 ::"r"(stage + 128 * j), "l"(from + 128 * j), "r"(bytes), "l"(once) : "memory");
  }
}

__device__ __forceinline__ uint32_t StageAt(const TileShared& x, int stage) {
  return SharedAddress(&x) + static_cast<uint32_t>(AlignUp(sizeof(TileShared), 128)) + stage * kStageBytes;
}
__device__ __forceinline__ void FetchTile(const TileShared& x, int tile, int stage) {
  FetchRows(x.plan.Rows(tile), x.plan.RowsOf(tile), StageAt(x, stage));
}

// The first tiles' copies, as far as nothing in them waits for this step. All threads, before AttendTiles() of the same plan.
__device__ __forceinline__ void AskTiles(const TileShared& x) {
  if (ThreadId() < kScorers) return;
#pragma unroll 1
  for (int i = 0; i < kAskedTiles; ++i) {
    const int tile = x.plan.first + i;
    if (tile < x.plan.end && x.plan.Knows(tile)) FetchTile(x, tile, i);
  }
}

// Where a scorer's part of a tile lies. Made anew for every tile: registers are short.
struct Scorer {
  int lane, heads, quarter;  // which half of the heads, which quarter of the dimensions

  __device__ __forceinline__ Scorer() {
    const int thread = ThreadId();
    lane = thread % kWarp, heads = thread / kWarp / kQuarters, quarter = thread / kWarp % kQuarters;
  }
  // Of its whole scores: half of the rows, a head, rows row(), + 1, + 8, + 9.
  __device__ __forceinline__ int half() const { return lane / 16; }
  __device__ __forceinline__ int head() const { return heads * 16 + quarter * 4 + lane % 16 / 4; }
  __device__ __forceinline__ int row() const { return half() * kHalfRows + lane % 4 * 2; }
};

// The scorers' half.
__device__ __forceinline__ void ScoreTiles(TileShared& x) {
  const int begin = x.plan.first, end = x.plan.end;
  MeetAt(kFreeBarrier + (begin + 1) % 2, kTileThreads);  // the queries and the first tiles are there
  uint32_t q[kQuarterSteps][4];
  uint32_t k_at;
  {
    const Scorer me;
    const int lane = me.lane;
    const uint32_t q_at = StageAt(x, x.plan.stages - 1) + ((me.heads * 16 + lane % 16) * kTileStride + me.quarter * (kTileRow / kQuarters) + lane / 16 * 8) * 2;
#pragma unroll
    for (int k = 0; k < kQuarterSteps; ++k) LoadMatrix(q_at + 32 * k, q[k]);
    k_at = ((lane / 16 * 8 + lane % 8) * kTileStride + me.quarter * (kTileRow / kQuarters) + lane / 8 % 2 * 8) * 2;
  }
  float max = -INFINITY, total = 0;
  int slot = 0;
#pragma unroll 1
  for (int tile = begin; tile < end; ++tile) {
    const int now = tile % 2;
    const uint32_t k_from = StageAt(x, slot) + k_at;
    float d[2][2][4] = {};  // rows 16 h + 8 n..
#pragma unroll
    for (int k = 0; k < kQuarterSteps; ++k) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        uint32_t b[4];
        LoadMatrix(k_from + h * kHalfRows * kTileStride * 2 + 32 * k, b);
        Mma(d[h][0], q[k], b[0], b[1]);
        Mma(d[h][1], q[k], b[2], b[3]);
      }
    }
    const Scorer me;
#pragma unroll
    for (int j = 0; j < 2; ++j) {  // heads 8 j..
      float4* to = x.score[me.heads][2 * j + me.lane / 16][me.quarter] + me.lane % 16;
#pragma unroll
      for (int h = 0; h < 2; ++h) to[16 * h] = make_float4(d[h][0][2 * j], d[h][0][2 * j + 1], d[h][1][2 * j], d[h][1][2 * j + 1]);
    }
    const int left = x.plan.RowsOf(tile) - me.row();
    const float scale = x.plan.scale;
    MeetAt(kHalfBarrier + me.heads, kScorers / 2);
    float s[4] = {};
#pragma unroll
    for (int g = 0; g < kQuarters; ++g) {
      const float4 part = x.score[me.heads][me.quarter][g][me.lane];
      s[0] += part.x, s[1] += part.y, s[2] += part.z, s[3] += part.w;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) s[j] = j / 2 * 8 + j % 2 < left ? s[j] * scale : -INFINITY;
    float mine = fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3]));
    mine = fmaxf(mine, __shfl_xor_sync(0xffffffffu, mine, 1));
    mine = fmaxf(mine, __shfl_xor_sync(0xffffffffu, mine, 2));
    mine = fmaxf(mine, __shfl_xor_sync(0xffffffffu, mine, 16));
    const float new_max = fmaxf(max, mine);
    const float keep = exp2f(max - new_max);
    max = new_max;
    total *= keep;
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      const uint32_t pair = Bf16Pair(exp2f(s[j] - max), exp2f(s[j + 1] - max));
      *reinterpret_cast<uint32_t*>(&x.weight[now][me.head()][me.row() + 4 * j]) = pair;
      total += Bf16Low(pair) + Bf16High(pair);  // of what the matrix units will see, so that the weights add up to one
    }
    if (me.half() == 0 && me.lane % 4 == 0) x.keep[now][me.head()] = keep;
    ArriveAt(kWeightsBarrier + now, kTileThreads);
    MeetAt(kFreeBarrier + now, kTileThreads);  // the next tile is there, the weights' place for it is free, and all scorers have read the scores
    slot = slot + 1 == x.plan.stages ? 0 : slot + 1;
  }
  total += __shfl_xor_sync(0xffffffffu, total, 1);
  total += __shfl_xor_sync(0xffffffffu, total, 2);
  total += __shfl_xor_sync(0xffffffffu, total, 16);
  const Scorer me;
  if (me.half() == 0 && me.lane % 4 == 0 && me.head() < x.plan.heads) {
    *reinterpret_cast<float2*>(x.plan.partials + me.head() * kPartialStride + StatisticsAt(kTileLatent)) = make_float2(max, total);
  }
}

// A number of the plan, read now: kept since the plan was made it would take a register.
__device__ __forceinline__ int ReadNow(const int& number) { return *static_cast<const volatile int*>(&number); }

// The summers, with tile `tile` in stage `slot` and its weights: starts the copy of the tile that takes the stage of the one before. Nobody needs that any
// more: at the barrier of these weights the scorers have arrived, who are a tile ahead, and the summers have met. The first stage to be filled anew is
// that of the queries.
__device__ __forceinline__ void FetchAhead(const TileShared& x, int tile, int slot) {
  const int stages = ReadNow(x.plan.stages), ahead = tile + stages - 1;
  if (ahead < ReadNow(x.plan.end)) FetchTile(x, ahead, slot == 0 ? stages - 1 : slot - 1);
}

// What is summed so far, relative to maxima that may have moved. They seldom do, and most of the time there is nothing to multiply.
__device__ __forceinline__ void Rescale(const float (&keep)[kTileHeads], int lane, float (&acc)[2][kSummerColumns / 8][4]) {
  float rows[2][2];
#pragma unroll
  for (int m = 0; m < 2; ++m) rows[m][0] = keep[16 * m + lane / 4], rows[m][1] = keep[16 * m + lane / 4 + 8];
  const bool moved = rows[0][0] != 1.0f || rows[0][1] != 1.0f || rows[1][0] != 1.0f || rows[1][1] != 1.0f;
  if (!__any_sync(0xffffffffu, moved)) return;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int c = 0; c < kSummerColumns / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) acc[m][c][i] *= rows[m][i / 2];
    }
  }
}

// The summers' half.
__device__ __forceinline__ void SumTiles(const TileShared& x) {
  const int lane = ThreadId() % kWarp, columns = (ThreadId() - kScorers) / kWarp * kSummerColumns;
  const int begin = x.plan.first, end = x.plan.end, stages = x.plan.stages;
  // The queries come with what of the first tiles had to wait for them; their stage is the last to be filled.
  FetchRows(reinterpret_cast<const char*>(x.plan.queries), x.plan.heads, StageAt(x, stages - 1));
#pragma unroll 1
  for (int i = 0; i < kAskedTiles; ++i) {
    if (begin + i < end && !x.plan.Knows(begin + i)) FetchTile(x, begin + i, i);
  }
  CommitCopies();
  WaitCopies(0);
  ArriveAt(kFreeBarrier + (begin + 1) % 2, kTileThreads);
  ArriveAt(kFreeBarrier + begin % 2, kTileThreads);  // there are two first tiles, and no weights yet
#pragma unroll 1
  for (int i = kAskedTiles; i < stages - 1; ++i) {
    if (begin + i < end) FetchTile(x, begin + i, i);
    CommitCopies();
  }
  float acc[2][kSummerColumns / 8][4] = {};  // heads 16 m.., latent columns 8 n..
  const uint32_t v_at = (lane % 16 * kTileStride + columns + lane / 16 * 8) * 2;
  int slot = 0;
#pragma unroll 1
  for (int tile = begin; tile < end; ++tile) {
    const int now = tile % 2;
    MeetAt(kWeightsBarrier + now, kTileThreads);
    if (tile > begin) Rescale(x.keep[now], lane, acc);
    const uint32_t v_from = StageAt(x, slot) + v_at, w_from = SharedAddress(&x.weight[now][lane % 16][lane / 16 * 8]);
#pragma unroll 1
    for (int row = 0; row < kMlaTile; row += 16) {
      uint32_t a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) LoadMatrix(w_from + (16 * m * kWeightStride + row) * 2, a[m]);
#pragma unroll
      for (int c = 0; c < kSummerColumns / 8; c += 2) {
        uint32_t b[4];
        LoadMatrixTransposed(v_from + (row * kTileStride + 8 * c) * 2, b);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          Mma(acc[m][c], a[m], b[0], b[1]);
          Mma(acc[m][c + 1], a[m], b[2], b[3]);
        }
      }
      if (row > 0) continue;
      FetchAhead(x, tile, slot);  // behind some products: what they read from shared memory would wait behind the copies
      CommitCopies();
    }
    if (tile + 1 < end) {
      WaitCopies(stages - 3);  // of the tile after the next
      ArriveAt(kFreeBarrier + (now ^ 1), kTileThreads);
    }
    slot = slot + 1 == stages ? 0 : slot + 1;
  }
  float* partials = x.plan.partials + columns + lane % 4 * 2;
  const int heads = x.plan.heads;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int high = 0; high < 2; ++high) {
      const int h = 16 * m + 8 * high + lane / 4;
      if (h >= heads) continue;
      float* to = partials + h * kPartialStride;
#pragma unroll
      for (int c = 0; c < kSummerColumns / 8; ++c) *reinterpret_cast<float2*>(to + 8 * c) = make_float2(acc[m][c][2 * high], acc[m][c][2 * high + 1]);
    }
  }
}

// What is planned in x; the signals are set. kTileThreads threads. Ends behind a barrier of the block.
__device__ __forceinline__ void AttendTiles(TileShared& x) {
  if (ThreadId() < kScorers) ScoreTiles(x);
  else SumTiles(x);
  SyncWorkers();
}

}  // namespace rill::cuda
