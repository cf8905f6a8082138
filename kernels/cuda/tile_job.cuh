// kernels/cuda/tile_job.cuh — many rows of weight matrices times staged rows, shared out among the worker warps of one block.
//
// A job is a list of tiles: up to sixteen rows of one matrix that meet one staged row; all tiles of a job have as many inputs. A row's
// groups of 32 inputs go in blocks of four, a part is up to four blocks, a unit is one part of one tile and belongs to one warp:
// lane l has rows l / 4 and l / 4 + 8 of the tile and, of every block, group l % 4. A unit leaves sixteen sums; a row is the sum of
// its parts in order, so its bits depend on its length alone: not on the grid, the warp or the number of multiprocessors.
//
// q4 goes through the integer matrix units. m16n8k32 multiplies 16 rows of 32 codes with 8 columns; here four lanes of a row hold
// four groups, so one instruction sees eight codes of each, and the columns keep the groups apart: column 2 g + p holds
// the digits p (high, low) of group g's inputs and zeros elsewhere. Four instructions make 64 group products, exactly the
// integers that dp4a would make, and every lane ends with the two sums of the group it loaded. High nibbles stay where they are
// and count sixteenfold.
//
// q4 weights come to shared memory by cp.async, brought by warps of their own (job_queue.cuh). What a product costs is instructions: four warps
// a scheduler hide little, so a unit's addresses are ready in its tile and its offsets are constants. Other formats, and q4 rows whose groups
// come not in fours, are read where they are needed.
#pragma once

#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/signal.cuh"

namespace rill::cuda {

inline constexpr int kWorkerWarps = kWorkers / kWarp;
inline constexpr int kUnitBytes = kTileRows * sizeof(float);
inline constexpr int kSlotValues = kPartBlocks * kTileRows * kBlockGroups * 16;
inline constexpr int kSlotBytes = kSlotValues + kPartBlocks * kTileRows * kBlockGroups * 2;
inline constexpr int kBlockBytes = kBlockGroups * kStagedGroupBytes;  // of a staged row
inline constexpr int kZeroBytes = (kPartBlocks - 1) * kBlockBytes + 32;
// A part that is short of blocks takes what lies behind the staged row for more of them, to no effect: so many bytes that nobody writes meanwhile.
inline constexpr int kBeyondRow = (kPartBlocks - 1) * kBlockBytes;

// Shared memory by address. The block's dynamic memory has one name, so that the compiler knows these accesses for what they are and
// orders them freely between barriers; through a pointer it knows nothing about they would be generic and in order.
extern __shared__ __align__(128) char block_memory[];

template <typename T>
__device__ __forceinline__ T& SharedAt(uint32_t address) {
  return *reinterpret_cast<T*>(block_memory + (address - SharedAddress(block_memory)));
}

struct alignas(16) Tile {
  const char* values;      // of its first row
  const uint16_t* scales;
  uint32_t x;              // shared-memory address of the staged row, in the form of the job's format
  int last;                // its last row, 0 to 15
  int out;                 // the caller's: where its first row goes
};

// In shared memory.
struct Job {
  int n_tiles, n_units, cols, groups, blocks, parts;
  unsigned first;          // its first unit's number among all units of the block
  unsigned per_part;       // 65536 / parts, rounded up: u / parts is u * per_part >> 16
  int row, rows;           // the caller's: which rows of a phase these are, and whether more come behind them
  bool more;
  Tile tile[kMostTiles];
};

// Where jobs keep their sums and their slots.
struct JobMemory {
  uint32_t sums_at;   // shared-memory address of [units][16] floats
  uint32_t slots_at;  // of the slots
  uint32_t zeros_at;  // of kZeroBytes zeros
  unsigned slots;     // a power of two, or 0
};

// Parts of a row of 2,304 inputs, and of 4,096: the 48B model's.
inline constexpr int kHiddenParts = PartsOf(2304), kMostUsualParts = PartsOf(4096);

constexpr int TilesOf(int rows) { return (rows + kTileRows - 1) / kTileRows; }

// Tile `i` of rows [begin, begin + rows) of m; row `begin` goes to `out`.
template <WeightFormat F>
__device__ __forceinline__ Tile TileOf(const MatrixView& m, int begin, int rows, int i, uint32_t x, int out) {
  const int cols = static_cast<int>(m.cols), groups = (cols + kGroup - 1) / kGroup;
  const int row_bytes = F == WeightFormat::kQ4 ? 16 * groups : F == WeightFormat::kQ8 ? 32 * groups : F == WeightFormat::kBf16 ? 2 * cols : 4 * cols;
  const int64_t first = begin + i * kTileRows;
  return {static_cast<const char*>(m.values) + first * row_bytes, static_cast<const uint16_t*>(m.scales) + (IsQuantized(F) ? first * groups : 0), x,
          min(kTileRows, rows - i * kTileRows) - 1, out + i * kTileRows};
}

// One warp builds the job; tile_at(i) is called by one lane. The caller puts a barrier behind it.
template <typename TileAt>
__device__ __forceinline__ void BuildJob(Job& job, int n_tiles, int cols, TileAt tile_at) {
  if (ThreadId() % kWarp == 0) {
    const int parts = PartsOf(cols);
    job.n_tiles = n_tiles, job.n_units = n_tiles * parts;
    job.cols = cols, job.groups = (cols + kGroup - 1) / kGroup, job.blocks = BlocksOf(cols), job.parts = parts;
    job.per_part = 65535 / parts + 1;
  }
#pragma unroll 1
  for (int i = ThreadId() % kWarp; i < n_tiles; i += kWarp) job.tile[i] = tile_at(i);
}

__device__ __forceinline__ void CopyAsync16(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
// Weights are read once a token: they leave the second-level cache first, which keeps activations and the kernel's own code there.
__device__ __forceinline__ uint64_t OncePolicy() {
  uint64_t once;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(once));
  return once;
}
// `bytes` of a piece of sixteen or eight, all or none: the rest of the place becomes zeros.
__device__ __forceinline__ void CopyOnce16(uint32_t to, const void* from, int bytes, uint64_t once) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(to), "l"(from), "r"(bytes), "l"(once) : "memory");
}
__device__ __forceinline__ void CopyOnce8(uint32_t to, const void* from, int bytes, uint64_t once) {
  asm volatile("cp.async.ca.shared.global.L2::cache_hint [%0], [%1], 8, %2, %3;" ::"r"(to), "l"(from), "r"(bytes), "l"(once) : "memory");
}
__device__ __forceinline__ void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// d = a b, and d += a b: 16 rows of unsigned bytes times 8 columns of signed ones.
__device__ __forceinline__ void MmaBytesFirst(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(0));
}
__device__ __forceinline__ void MmaBytes(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The job of rows [first, first + n) of matrices laid end to end, `end` telling where each ends: row `begin` of matrix i goes to
// out(i, begin). One warp.
template <WeightFormat F, typename Out>
__device__ __forceinline__ void BuildEndToEnd(Job& job, const MatrixView* m, const int* end, int count, int cols, uint32_t x, int first, int n, Out out) {
  // As many rows of matrix i as are among them, from row `begin` of it on.
  const auto part = [&](int i, int* begin) {
    const int start = i == 0 ? 0 : end[i - 1];
    *begin = max(first, start) - start;
    return max(0, min(first + n, end[i]) - max(first, start));
  };
  int tiles = 0, begin;
  for (int i = 0; i < count; ++i) tiles += TilesOf(part(i, &begin));
  BuildJob(job, tiles, cols, [&](int t) {
    int i = 0, rows = part(i, &begin);
    for (; t >= TilesOf(rows); rows = part(++i, &begin)) t -= TilesOf(rows);
    return TileOf<F>(m[i], begin, rows, t, x, out(i, begin));
  });
}

// Where B's columns find their zeros; by the workers, with a barrier behind it.
__device__ __forceinline__ void ClearZeros(char* zeros) {
  for (int i = ThreadId(); i < kZeroBytes / 4; i += kWorkers) reinterpret_cast<float*>(zeros)[i] = 0;
}

struct Unit {
  const Tile* tile;
  int first_block, n_blocks;
};

// How a job's units lie, in registers: shared memory would be read anew for each of them.
struct Units {
  const Tile* tiles;
  unsigned per_part, blocks;
  int parts;

  __device__ __forceinline__ explicit Units(const Job& job) : tiles(job.tile), per_part(job.per_part), blocks(job.blocks), parts(job.parts) {}
  __device__ __forceinline__ Unit At(int u) const {
    const int tile = static_cast<int>(u * per_part >> 16), part = u - tile * parts;
    const int first = static_cast<int>(blocks * part * per_part >> 16), end = static_cast<int>(blocks * (part + 1) * per_part >> 16);
    return {tiles + tile, first, end - first};
  }
};

// ---- q4 -------------------------------------------------------------------------------------------------------------

// Starts the copy of a unit into a slot, by one warp; what the unit does not have becomes zeros. Without a branch: a feeder's instructions take the
// place of the workers'.
__device__ __forceinline__ void FillSlot(const Unit& u, int groups, uint32_t slot) {
  const int lane = ThreadId() % kWarp, quarter = lane % 4, last = u.tile->last, low = lane / 4, n = u.n_blocks;
  const bool has_low = low <= last, has_high = low + 8 <= last;
  const int high_bytes = 8 * 16 * groups;  // eight rows on
  const char* from = u.tile->values + (low * groups + u.first_block * kBlockGroups + quarter) * 16;
  const uint32_t to = slot + lane * 16;
  const uint64_t once = OncePolicy();
#pragma unroll
  for (int b = 0; b < kPartBlocks; ++b) {
    CopyOnce16(to + b * 1024, from + b * 64, has_low && b < n ? 16 : 0, once);
    CopyOnce16(to + b * 1024 + 512, from + high_bytes + b * 64, has_high && b < n ? 16 : 0, once);
  }
  // Of the scales a lane brings a block's four.
  const uint16_t* scales = u.tile->scales + low * groups + (u.first_block + quarter) * kBlockGroups;
  const uint32_t scales_to = slot + kSlotValues + lane * 8;
  CopyOnce8(scales_to, scales, has_low && quarter < n ? 8 : 0, once);
  CopyOnce8(scales_to + 256, scales + 8 * groups, has_high && quarter < n ? 8 : 0, once);
}

__device__ __forceinline__ void TakeSlot(const Unit& u, uint32_t slot, uint32_t zeros, float (&sums)[2]) {
  const int lane = ThreadId() % kWarp, quarter = lane % 4, n = u.n_blocks;
  const uint32_t x = u.tile->x + (u.first_block * kBlockGroups + quarter) * kStagedGroupBytes;
  // Of B's columns this lane has one of its own group or zeros.
  const uint32_t digits = lane / 8 == quarter ? x + lane / 4 % 2 * 32 : zeros;
  const uint32_t scales = slot + kSlotValues + lane / 4 * 32 + quarter * 2, values = slot + lane * 16;
  constexpr uint32_t kLow = 0x0f0f0f0fu, kHigh = 0xf0f0f0f0u;
  // No branch in here: a part that is shorter takes its missing blocks along with scale zero (their weights are zeros), so that the loads of all blocks can
  // be on their way at once.
#pragma unroll
  for (int b = 0; b < kPartBlocks; ++b) {
    const uint4 v = SharedAt<const uint4>(values + b * 1024), w = SharedAt<const uint4>(values + b * 1024 + 512);
    const uint4 first = SharedAt<const uint4>(digits + b * kBlockBytes), second = SharedAt<const uint4>(digits + b * kBlockBytes + 16);
    const uint2 tail = SharedAt<const uint2>(x + b * kBlockBytes + 64);
    int c[4], d[4];
    MmaBytesFirst(c, v.x & kLow, w.x & kLow, v.y & kLow, w.y & kLow, first.x, first.y);
    MmaBytesFirst(d, v.x & kHigh, w.x & kHigh, v.y & kHigh, w.y & kHigh, second.x, second.y);
    MmaBytes(c, v.z & kLow, w.z & kLow, v.w & kLow, w.w & kLow, first.z, first.w);
    MmaBytes(d, v.z & kHigh, w.z & kHigh, v.w & kHigh, w.w & kHigh, second.z, second.w);
    const float scale = b < n ? __uint_as_float(tail.x) : 0.0f;
    const int offset = -128 * static_cast<int>(tail.y);
    const int low = (c[0] * 16 + d[0]) * 256 + (c[1] * 16 + d[1]) + offset, high = (c[2] * 16 + d[2]) * 256 + (c[3] * 16 + d[3]) + offset;
    const float low_scale = HalfToFloat(SharedAt<const uint16_t>(scales + b * 8)) * scale;
    const float high_scale = HalfToFloat(SharedAt<const uint16_t>(scales + b * 8 + 256)) * scale;
    sums[0] = fmaf(low_scale, static_cast<float>(low), sums[0]);
    sums[1] = fmaf(high_scale, static_cast<float>(high), sums[1]);
  }
  sums[0] *= 0.0625f, sums[1] *= 0.0625f;  // the integers counted sixteenfold
}

// The lane, found at this place: what few units need would be found in front of all otherwise.
__device__ __forceinline__ int LaneNow() {
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
// The same for a tile of one or two rows, which half of all blocks have at the end of their share: a lane a group of one row, in a third of the
// time. Lanes 16 r to 16 r + 3 have the shares of row r that TakeSlot()'s four lanes have, with the same bits.
inline constexpr int kFewRows = 2;
__device__ __forceinline__ float TakeFew(const Unit& u, uint32_t slot) {
  const int lane = LaneNow(), row = lane / 16, block = lane / 4 % 4, quarter = lane % 4;
  const uint32_t at = block * 1024 + (row * kBlockGroups + quarter) * 16;
  const Staged staged = {nullptr, &SharedAt<char>(u.tile->x)};
  const bool inside = block < u.n_blocks;
  const GroupInts x = ReadGroup(staged, (u.first_block + (inside ? block : 0)) * kBlockGroups + quarter);
  const uint4 w = SharedAt<const uint4>(slot + at);
  int hi = 0, lo = -8 * x.sum;
  Q4Word(w.x, x.hi0.x, x.hi1.x, x.lo0.x, x.lo1.x, hi, lo);
  Q4Word(w.y, x.hi0.y, x.hi1.y, x.lo0.y, x.lo1.y, hi, lo);
  Q4Word(w.z, x.hi0.z, x.hi1.z, x.lo0.z, x.lo1.z, hi, lo);
  Q4Word(w.w, x.hi0.w, x.hi1.w, x.lo0.w, x.lo1.w, hi, lo);
  const float value = static_cast<float>(hi * 256 + lo);
  const float scale = inside ? HalfToFloat(SharedAt<const uint16_t>(slot + kSlotValues + row * 32 + block * 8 + quarter * 2)) * x.scale : 0.0f;
  float sum = 0;  // block after block, as TakeSlot() adds
#pragma unroll
  for (int b = 0; b < kPartBlocks; ++b) {
    const float mine = fmaf(scale, value, sum);
    sum = __shfl_sync(0xffffffffu, mine, row * 16 + b * 4 + quarter);
  }
  return sum;
}

// ---- rows read where they are needed ------------------------------------------------------------------------------------

// Group `group` of row `row` of a tile times its staged row.
template <WeightFormat F>
__device__ __forceinline__ float GroupDot(const Tile& t, int64_t row, int group, int groups, int cols) {
  const int64_t at = row * groups + group;
  if constexpr (F == WeightFormat::kQ4) {
    return LoadScale(t.scales, at) * Q4Group(LoadWeights(reinterpret_cast<const uint4*>(t.values) + at), ReadGroup({nullptr, &SharedAt<char>(t.x)}, group));
  } else if constexpr (F == WeightFormat::kQ8) {
    const uint4* values = reinterpret_cast<const uint4*>(t.values) + 2 * at;
    return LoadScale(t.scales, at) * Q8Group(LoadWeights(values), LoadWeights(values + 1), ReadGroup({nullptr, &SharedAt<char>(t.x)}, group));
  } else {
    const int first = group * kGroup, n = min(kGroup, cols - first);
    const float* x = &SharedAt<const float>(t.x) + first;
    float sum = 0;
    if constexpr (F == WeightFormat::kBf16) {
      const Bf16* values = reinterpret_cast<const Bf16*>(t.values) + row * cols + first;
      if (cols % 8 == 0 && reinterpret_cast<uintptr_t>(t.values) % 16 == 0) {
#pragma unroll
        for (int i = 0; i < kGroup; i += 8) {
          const float4* at_x = reinterpret_cast<const float4*>(x + i);
          sum += Bf16Pairs(LoadWeights(values + (i < n ? i : 0), i < n), at_x[0], at_x[1]);
        }
        return sum;
      }
      for (int i = 0; i < n; ++i) sum = fmaf(ToFloat(values[i]), x[i], sum);
    } else {
      const float* values = reinterpret_cast<const float*>(t.values) + row * cols + first;
      for (int i = 0; i < n; ++i) sum = fmaf(__ldg(values + i), x[i], sum);
    }
    return sum;
  }
}

template <WeightFormat F>
__device__ __noinline__ float2 TakeRows(uint32_t job_at, int unit) {
  const Job& job = SharedAt<const Job>(job_at);
  const Unit u = Units(job).At(unit);
  const Tile& t = *u.tile;
  const int low = min(ThreadId() % kWarp / 4, t.last), high = min(ThreadId() % kWarp / 4 + 8, t.last);
  float2 sums = {0, 0};
#pragma unroll 1
  for (int b = 0; b < u.n_blocks; ++b) {
    const int group = (u.first_block + b) * kBlockGroups + ThreadId() % 4;
    if (group >= job.groups) break;
    sums.x += GroupDot<F>(t, low, group, job.groups, job.cols);
    sums.y += GroupDot<F>(t, high, group, job.groups, job.cols);
  }
  return sums;
}

// ---- sums ------------------------------------------------------------------------------------------------------------

// Row `row` of tile `tile`, whole. kUsual parts are read in one go, more one by one.
template <int kUsual>
__device__ __forceinline__ float RowSum(const Job& job, const JobMemory& memory, int tile, int row) {
  const int parts = job.parts;
  const float* sums = &SharedAt<const float>(memory.sums_at + (tile * parts * kTileRows + row) * sizeof(float));
  float part[kUsual], sum = 0;
#pragma unroll
  for (int i = 0; i < kUsual; ++i) part[i] = i < parts ? sums[i * kTileRows] : 0.0f;
#pragma unroll
  for (int i = 0; i < kUsual; ++i) sum += part[i];
#pragma unroll 1
  for (int i = kUsual; i < parts; ++i) sum += sums[i * kTileRows];
  return sum;
}

// write(out, sum) for every row of the job.
template <typename Write>
__device__ __forceinline__ void TileSums(const Job& job, const JobMemory& memory, Write write) {
#pragma unroll 1
  for (int i = ThreadId(); i < job.n_tiles * kTileRows; i += kWorkers) {
    const int tile = i / kTileRows, row = i % kTileRows;
    if (row <= job.tile[tile].last) write(job.tile[tile].out + row, RowSum<kMostUsualParts>(job, memory, tile, row));
  }
}

}  // namespace rill::cuda
