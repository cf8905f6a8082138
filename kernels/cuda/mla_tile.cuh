// kernels/cuda/mla_tile.cuh — attention over the latent cache on the matrix units, for the shape of the 48B model: bf16
// rows of 512 + 64 values, up to 32 heads at once (fewer are padded with zero queries).
//
// 16 warps. A tile of kMlaTile rows lies in shared memory (two stages, filled with cp.async while the other is worked on):
//   S = Q K^T     warp = (16 heads) x (32 rows) x (a quarter of the 576 dimensions), its queries in registers for good, because
//                 reading them anew for each tile is what shared memory has no time for; the quarters meet in shared memory
//   softmax       16 lanes a head, running maximum and sum in their registers
//   O = P K       warp = all heads x 32 latent columns, accumulated in registers
// Every instruction is sm_80's: mma.sync, ldmatrix, cp.async.
#pragma once

#include "kernels/cuda/mla.cuh"
#include "kernels/cuda/tile_job.cuh"

namespace rill::cuda {

inline constexpr int kTileThreads = 512;
inline constexpr int kTileHeads = 32;
inline constexpr int kTileStride = 584;   // bf16; 73 x 16 bytes: eight rows of a matrix fall into different banks
inline constexpr int kScoreStride = kMlaTile + 4;   // floats
inline constexpr int kWeightStride = kMlaTile + 8;  // bf16

inline constexpr int kTileQuarters = 4;
inline constexpr int kQuarterSteps = kTileRow / kTileQuarters / 16;  // of 16 dimensions

struct TileShared {
  union {
    Bf16 q[kTileHeads][kTileStride];                               // until it is in registers
    float score[kTileQuarters][kTileHeads][kScoreStride];
  };
  Bf16 weight[kTileHeads][kWeightStride];
  float keep[kTileHeads];
};

constexpr size_t kTileStageBytes = size_t{kMlaTile} * kTileStride * 2;
constexpr size_t TileSharedBytes(int stages) { return AlignUp(sizeof(TileShared), 128) + stages * kTileStageBytes; }

__device__ inline void LoadMatrix(uint32_t address, uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ inline void LoadMatrixTransposed(uint32_t address, uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ inline void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts the copy of rows [first, first + kMlaTile) into a stage; rows from `length` on become zeros.
__device__ __forceinline__ void FetchTile(const MlaTask& a, int64_t first, int64_t length, Bf16* stage) {
  constexpr int kChunks = kTileRow / 8;
  const char* base = CacheRow(a.cache, first, kTileRow * 2);
#pragma unroll
  for (int j = 0; j < kMlaTile * kChunks / kTileThreads; ++j) {
    const int i = ThreadId() + j * kTileThreads;
    const int row = i / kChunks, chunk = i % kChunks;
    const int bytes = first + row < length ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(SharedAddress(stage + row * kTileStride + chunk * 8)), "l"(base + row * kTileRow * 2 + chunk * 16), "r"(bytes)
                 : "memory");
  }
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Starts the copy of the queries of heads [first, first + n), as Absorb() left them; heads past n are zero. The next commit takes it along.
__device__ __forceinline__ void FetchQueries(const Bf16* queries, int first, int n, TileShared& x) {
  constexpr int kChunks = kTileRow / 8;
#pragma unroll 1
  for (int i = ThreadId(); i < kTileHeads * kChunks; i += kTileThreads) {
    const int h = i / kChunks, chunk = i % kChunks;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(SharedAddress(&x.q[h][chunk * 8])), "l"(queries + (h < n ? first + h : first) * kTileRow + chunk * 8), "r"(h < n ? 16 : 0)
                 : "memory");
  }
}

// This warp's part of the queries.
struct TileQueries {
  uint32_t a[kQuarterSteps][4];

  __device__ __forceinline__ void Load(const TileShared& x) {
    const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp;
    const uint32_t address = SharedAddress(&x.q[warp % 2 * 16 + lane % 16][warp / 4 * (kTileRow / kTileQuarters) + lane / 16 * 8]);
#pragma unroll
    for (int k = 0; k < kQuarterSteps; ++k) LoadMatrix(address + 32 * k, a[k]);
  }
};

__device__ __forceinline__ void TileScores(const Bf16* stage, const TileQueries& q, TileShared& x) {
  const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp;
  const int heads = warp % 2 * 16, rows = warp / 2 % 2 * 32, quarter = warp / 4;
  float d[4][4] = {};
  const uint32_t address = SharedAddress(stage + (rows + lane / 16 * 8 + lane % 8) * kTileStride + quarter * (kTileRow / kTileQuarters) + lane / 8 % 2 * 8);
#pragma unroll
  for (int k = 0; k < kQuarterSteps; ++k) {
    uint32_t b[2][4];
    LoadMatrix(address + 32 * k, b[0]);
    LoadMatrix(address + 32 * k + 2 * 16 * kTileStride, b[1]);
#pragma unroll
    for (int n = 0; n < 4; ++n) Mma(d[n], q.a[k], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
  }
  const int h = heads + lane / 4, t = rows + lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    *reinterpret_cast<float2*>(&x.score[quarter][h][t + 8 * n]) = make_float2(d[n][0], d[n][1]);
    *reinterpret_cast<float2*>(&x.score[quarter][h + 8][t + 8 * n]) = make_float2(d[n][2], d[n][3]);
  }
}

// Head threadIdx / 16, rows (threadIdx % 16) + 16 j.
__device__ inline void TileSoftmax(float scale, int n_rows, TileShared& x, float& max, float& total) {
  constexpr int kEach = kMlaTile / 16;
  const int h = ThreadId() / 16, lane = ThreadId() % 16;
  float s[kEach];
  float new_max = max;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int t = lane + 16 * j;
    s[j] = t < n_rows ? (x.score[0][h][t] + x.score[1][h][t] + x.score[2][h][t] + x.score[3][h][t]) * scale : -INFINITY;
    new_max = fmaxf(new_max, s[j]);
  }
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) new_max = fmaxf(new_max, __shfl_xor_sync(0xffffffffu, new_max, offset));
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const Bf16 weight = ToBf16(exp2f(s[j] - new_max));
    x.weight[h][lane + 16 * j] = weight;
    sum += ToFloat(weight);  // of what the matrix units will see, so that the weights add up to one
  }
  const float keep = exp2f(max - new_max);
  total = total * keep + LaneSum<16>(sum);
  max = new_max;
  if (lane == 0) x.keep[h] = keep;
}

// acc[m][n]: heads 16 m.., latent columns 32 * warp + 8 n..
__device__ inline void TileAccumulate(const Bf16* stage, const TileShared& x, float (&acc)[2][4][4]) {
  const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const float low = x.keep[16 * m + lane / 4], high = x.keep[16 * m + lane / 4 + 8];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      acc[m][n][0] *= low;
      acc[m][n][1] *= low;
      acc[m][n][2] *= high;
      acc[m][n][3] *= high;
    }
  }
  const uint32_t a_address = SharedAddress(&x.weight[lane % 16][lane / 16 * 8]);
  const uint32_t b_address = SharedAddress(stage + lane % 16 * kTileStride + warp * 32 + lane / 16 * 8);
#pragma unroll
  for (int t = 0; t < kMlaTile; t += 16) {
    uint32_t a[2][4], b[2][4];
    LoadMatrix(a_address + 2 * t, a[0]);
    LoadMatrix(a_address + 2 * t + 2 * 16 * kWeightStride, a[1]);
    LoadMatrixTransposed(b_address + 2 * t * kTileStride, b[0]);
    LoadMatrixTransposed(b_address + 2 * t * kTileStride + 32, b[1]);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) Mma(acc[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }
}

// Tiles [range) of a cache of `length` rows for heads [first, first + n) into partial[h] (`stride` floats apart).
// kTileThreads threads; `shared` is 128-byte aligned and holds TileSharedBytes(stages), stages 1 or 2.
__device__ __forceinline__ void AttendTiles(const MlaTask& a, const float* queries, int first, int n, int64_t length,
                                   TileRange range, float* partial, int64_t stride, char* shared, int stages) {
  TileShared& x = *reinterpret_cast<TileShared*>(shared);
  Bf16* stage[2];
  stage[0] = reinterpret_cast<Bf16*>(shared + AlignUp(sizeof(TileShared), 128));
  stage[1] = stages == 2 ? stage[0] + kMlaTile * kTileStride : stage[0];
  FetchQueries(reinterpret_cast<const Bf16*>(queries), first, n, x);
  FetchTile(a, range.begin * kMlaTile, length, stage[0]);
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  TileQueries mine;
  mine.Load(x);
  __syncthreads();  // the scores lie over the queries
  float acc[2][4][4] = {};
  float max = -INFINITY, total = 0;
  const float scale = a.scale * kLog2E;
  for (int64_t tile = range.begin; tile < range.end; ++tile) {
    const int i = static_cast<int>((tile - range.begin) & 1);
    const bool more = tile + 1 < range.end;
    if (stages == 2 && more) {
      FetchTile(a, (tile + 1) * kMlaTile, length, stage[i ^ 1]);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    __syncthreads();
    TileScores(stage[i], mine, x);
    __syncthreads();
    const int64_t left = length - tile * kMlaTile;
    TileSoftmax(scale, left < kMlaTile ? static_cast<int>(left) : kMlaTile, x, max, total);
    __syncthreads();
    TileAccumulate(stage[i], x, acc);
    __syncthreads();
    if (stages == 1 && more) FetchTile(a, (tile + 1) * kMlaTile, length, stage[0]);
  }
  const int lane = ThreadId() % kWarp, warp = ThreadId() / kWarp;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int h = 16 * m + 8 * half + lane / 4;
      if (h >= n) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        *reinterpret_cast<float2*>(partial + h * stride + warp * 32 + c * 8 + lane % 4 * 2) = make_float2(acc[m][c][2 * half], acc[m][c][2 * half + 1]);
      }
    }
  }
  if (ThreadId() % 16 == 0 && ThreadId() / 16 < n) {
    float* to = partial + ThreadId() / 16 * stride + kTileLatent;
    to[0] = max;
    to[1] = total;
  }
}

}  // namespace rill::cuda
