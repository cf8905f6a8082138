// kernels/cuda/dot.cuh — rows of a weight matrix times a staged activation row.
//
// kLanes lanes share a row, lane `sub` takes groups sub, sub + kLanes, ... and the lanes are added as a tree, so the
// order of a sum depends on the row's length alone: not on the grid, not on the number of multiprocessors.
#pragma once

#include "kernels/cuda/stage.cuh"

namespace rill::cuda {

inline constexpr int kLanes = 16;                   // 72 groups (2304 inputs) are 4.5 rounds, 128 are 8, 32 are 2

// acc + four unsigned bytes of a times four signed bytes of b.
__device__ inline int Dp4aUnsigned(uint32_t a, uint32_t b, int acc) {
  asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(acc) : "r"(a), "r"(b));
  return acc;
}
__device__ inline int Dp4aSigned(uint32_t a, uint32_t b, int acc) {
  asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(acc) : "r"(a), "r"(b));
  return acc;
}

// One staged group in registers: inputs 4w .. 4w + 3 are byte w of hi and lo.
struct GroupInts {
  uint4 hi0, hi1, lo0, lo1;  // hi0: inputs 0-15, hi1: 16-31
  float scale;
  int sum;
};

__device__ inline GroupInts ReadGroup(const Staged& x, int group) {
  const uint4* p = reinterpret_cast<const uint4*>(x.q + group * kStagedGroupBytes);
  const int2 tail = *reinterpret_cast<const int2*>(p + 4);
  return {p[0], p[1], p[2], p[3], __int_as_float(tail.x), tail.y};
}

__device__ inline void Q4Word(uint32_t word, uint32_t hi0, uint32_t hi1, uint32_t lo0, uint32_t lo1, int& hi, int& lo) {
  const uint32_t first = word & 0x0f0f0f0fu, second = (word >> 4) & 0x0f0f0f0fu;
  hi = Dp4aUnsigned(first, hi0, hi);
  lo = Dp4aUnsigned(first, lo0, lo);
  hi = Dp4aUnsigned(second, hi1, hi);
  lo = Dp4aUnsigned(second, lo1, lo);
}

// sum over the group of (nibble - 8) * x, without the weights' scale.
__device__ inline float Q4Group(uint4 w, const GroupInts& x) {
  int hi = 0, lo = -8 * x.sum;
  Q4Word(w.x, x.hi0.x, x.hi1.x, x.lo0.x, x.lo1.x, hi, lo);
  Q4Word(w.y, x.hi0.y, x.hi1.y, x.lo0.y, x.lo1.y, hi, lo);
  Q4Word(w.z, x.hi0.z, x.hi1.z, x.lo0.z, x.lo1.z, hi, lo);
  Q4Word(w.w, x.hi0.w, x.hi1.w, x.lo0.w, x.lo1.w, hi, lo);
  return x.scale * static_cast<float>(hi * 256 + lo);
}

__device__ inline void Q8Half(uint4 w, uint4 h, uint4 l, int& hi, int& lo) {
  hi = Dp4aSigned(w.x, h.x, hi);
  lo = Dp4aSigned(w.x, l.x, lo);
  hi = Dp4aSigned(w.y, h.y, hi);
  lo = Dp4aSigned(w.y, l.y, lo);
  hi = Dp4aSigned(w.z, h.z, hi);
  lo = Dp4aSigned(w.z, l.z, lo);
  hi = Dp4aSigned(w.w, h.w, hi);
  lo = Dp4aSigned(w.w, l.w, lo);
}

__device__ inline float Q8Group(uint4 first, uint4 second, const GroupInts& x) {
  int hi = 0, lo = 0;
  Q8Half(first, x.hi0, x.lo0, hi, lo);
  Q8Half(second, x.hi1, x.lo1, hi, lo);
  return x.scale * static_cast<float>(hi * 256 + lo);  // 32 * 127 * 32512 at most: far from 2^31
}

// One row of a q4 matrix.
struct Q4Row {
  const uint4* values;
  const uint16_t* scales;
};

__device__ inline Q4Row Q4RowOf(const MatrixView& m, int row) {
  const int64_t first = row * GroupsPerRow(m.cols);
  return {static_cast<const uint4*>(m.values) + first, static_cast<const uint16_t*>(m.scales) + first};
}

// What a lane has in flight of kRows rows: kRounds of its groups each, from chunk * lanes * kRounds on. Groups behind the row's end
// are zeros with scale zero, so that the arithmetic needs no branch.
template <int kRows, int kRounds>
struct Q4Chunk {
  uint4 w[kRows][kRounds];
  uint16_t s[kRows][kRounds];
};

template <int lanes, int kRows, int kRounds>
__device__ __forceinline__ void LoadChunk(const Q4Row& row, int groups, int chunk, int sub, int r, Q4Chunk<kRows, kRounds>& c) {
#pragma unroll
  for (int u = 0; u < kRounds; ++u) {
    const int group = (chunk * kRounds + u) * lanes + sub;
    c.w[r][u] = LoadWeights(row.values + group, group < groups);
    c.s[r][u] = LoadScaleBits(row.scales + group, group < groups);
  }
}

template <int lanes, int kRows, int kRounds>
__device__ __forceinline__ void ChunkDot(const Q4Chunk<kRows, kRounds>& c, int groups, int chunk, int sub, const Staged& x,
                                         float (&sums)[kRows]) {
#pragma unroll
  for (int u = 0; u < kRounds; ++u) {
    const int group = min((chunk * kRounds + u) * lanes + sub, groups - 1);
    const GroupInts ints = ReadGroup(x, group);
#pragma unroll
    for (int r = 0; r < kRows; ++r) sums[r] = fmaf(HalfToFloat(c.s[r][u]), Q4Group(c.w[r][u], ints), sums[r]);
  }
}

// One row.
template <int lanes>
__device__ inline float DotQ4(const MatrixView& m, int row, const Staged& x, int sub) {
  constexpr int kRounds = 5;
  const int groups = static_cast<int>(GroupsPerRow(m.cols));
  const Q4Row at = Q4RowOf(m, row);
  float sum[1] = {0};
  for (int chunk = 0; chunk * lanes * kRounds < groups; ++chunk) {
    Q4Chunk<1, kRounds> c;
    LoadChunk<lanes>(at, groups, chunk, sub, 0, c);
    ChunkDot<lanes>(c, groups, chunk, sub, x, sum);
  }
  return sum[0];
}

template <int lanes>
__device__ inline float DotQ8(const MatrixView& m, int row, const Staged& x, int sub) {
  constexpr int kInFlight = 4;
  const int groups = static_cast<int>(GroupsPerRow(m.cols));
  const int64_t scale_row = static_cast<int64_t>(row) * groups;
  const uint4* values = static_cast<const uint4*>(m.values) + 2 * scale_row;
  float sum = 0;
  for (int first = 0; first < groups; first += lanes * kInFlight) {
    uint4 a[kInFlight], b[kInFlight];
    float s[kInFlight];
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      const int group = first + u * lanes + sub;
      a[u] = LoadWeights(values + 2 * group, group < groups);
      b[u] = LoadWeights(values + 2 * group + 1, group < groups);
      s[u] = HalfToFloat(LoadScaleBits(static_cast<const uint16_t*>(m.scales) + scale_row + group, group < groups));
    }
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      const int group = first + u * lanes + sub;
      if (group < groups) sum += s[u] * Q8Group(a[u], b[u], ReadGroup(x, group));
    }
  }
  return sum;
}

__device__ inline float Bf16Pairs(uint4 w, float4 a, float4 b) {
  float sum = Bf16Low(w.x) * a.x;
  sum = fmaf(Bf16High(w.x), a.y, sum);
  sum = fmaf(Bf16Low(w.y), a.z, sum);
  sum = fmaf(Bf16High(w.y), a.w, sum);
  sum = fmaf(Bf16Low(w.z), b.x, sum);
  sum = fmaf(Bf16High(w.z), b.y, sum);
  sum = fmaf(Bf16Low(w.w), b.z, sum);
  return fmaf(Bf16High(w.w), b.w, sum);
}

template <int lanes>
__device__ inline float DotBf16(const MatrixView& m, int row, const Staged& x, int sub) {
  const int K = static_cast<int>(m.cols);
  const Bf16* values = static_cast<const Bf16*>(m.values) + static_cast<int64_t>(row) * K;
  float sum = 0;
  if (K % 8 != 0 || reinterpret_cast<uintptr_t>(m.values) % 16 != 0) {
    for (int i = sub; i < K; i += lanes) sum = fmaf(ToFloat(values[i]), x.f[i], sum);
    return sum;
  }
  constexpr int kInFlight = 9;
  const int chunks = K / 8;
  const float4* f = reinterpret_cast<const float4*>(x.f);
  for (int first = 0; first < chunks; first += lanes * kInFlight) {
    uint4 w[kInFlight];
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      const int chunk = first + u * lanes + sub;
      w[u] = LoadWeights(values + 8 * chunk, chunk < chunks);
    }
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      const int chunk = min(first + u * lanes + sub, chunks - 1);  // behind the end the weights are zeros
      sum += Bf16Pairs(w[u], f[2 * chunk], f[2 * chunk + 1]);
    }
  }
  return sum;
}

template <int lanes>
__device__ inline float DotF32(const MatrixView& m, int row, const Staged& x, int sub) {
  const int K = static_cast<int>(m.cols);
  const float* values = static_cast<const float*>(m.values) + static_cast<int64_t>(row) * K;
  float sum = 0;
  for (int i = sub; i < K; i += lanes) sum = fmaf(__ldg(values + i), x.f[i], sum);
  return sum;
}

// Row `row` of `m`, whose format is F, times x, whole, in every lane of the row's `lanes` lanes. All lanes of the warp take part.
template <WeightFormat F, int lanes = kLanes>
__device__ inline float RowDotOf(const MatrixView& m, int row, const Staged& x) {
  const int sub = ThreadId() % lanes;
  float sum = 0;
  if constexpr (F == WeightFormat::kQ4) sum = DotQ4<lanes>(m, row, x, sub);
  if constexpr (F == WeightFormat::kQ8) sum = DotQ8<lanes>(m, row, x, sub);
  if constexpr (F == WeightFormat::kBf16) sum = DotBf16<lanes>(m, row, x, sub);
  if constexpr (F == WeightFormat::kF32) sum = DotF32<lanes>(m, row, x, sub);
  return LaneSum<lanes>(sum);
}
template <int lanes = kLanes>
__device__ inline float RowDot(const MatrixView& m, int row, const Staged& x) {
  switch (m.format) {
    case WeightFormat::kQ4: return RowDotOf<WeightFormat::kQ4, lanes>(m, row, x);
    case WeightFormat::kQ8: return RowDotOf<WeightFormat::kQ8, lanes>(m, row, x);
    case WeightFormat::kBf16: return RowDotOf<WeightFormat::kBf16, lanes>(m, row, x);
    case WeightFormat::kF32: return RowDotOf<WeightFormat::kF32, lanes>(m, row, x);
  }
  return 0;
}

// silu(gate . x) * (up . x) for one row of each.
template <int lanes = kLanes>
__device__ inline float GluDot(const MatrixView& gate, const MatrixView& up, int row, const Staged& x) {
  const float g = RowDot<lanes>(gate, row, x);
  return Silu(g) * RowDot<lanes>(up, row, x);
}

enum class ExpertPart { kGate, kUp, kDown };

// ExpertsView's own accessors are host functions.
__device__ inline MatrixView ExpertMatrix(const ExpertsView& x, int e, ExpertPart part) {
  const ExpertLayout layout = MakeExpertLayout(x.format, x.hidden, x.width);
  const bool down = part == ExpertPart::kDown;
  const int64_t rows = down ? x.hidden : x.width, cols = down ? x.width : x.hidden;
  const char* base = static_cast<const char*>(x.record[e]) +
                     (down ? layout.down : part == ExpertPart::kUp ? layout.up : layout.gate);
  return {x.format, rows, cols, base, IsQuantized(x.format) ? base + ScalesOffset(x.format, rows, cols) : nullptr};
}

// One weight as float32: for walks down a column, and for tiles.
template <WeightFormat F>
__device__ inline float WeightAtOf(const MatrixView& m, int64_t row, int col) {
  if constexpr (F == WeightFormat::kF32) return __ldg(static_cast<const float*>(m.values) + row * m.cols + col);
  if constexpr (F == WeightFormat::kBf16) return ToFloat(static_cast<const Bf16*>(m.values)[row * m.cols + col]);
  const int64_t group = row * GroupsPerRow(m.cols) + col / kGroup;
  const int i = col % kGroup;
  if constexpr (F == WeightFormat::kQ8) {
    return static_cast<float>(static_cast<const int8_t*>(m.values)[group * 32 + i]) * LoadScale(m.scales, group);
  } else {
    const int byte = __ldg(static_cast<const uint8_t*>(m.values) + group * 16 + i % 16);
    return static_cast<float>((i < 16 ? byte & 15 : byte >> 4) - 8) * LoadScale(m.scales, group);
  }
}
// One column of a matrix, every `step`-th row from `row` on.
template <WeightFormat F>
struct ColumnWalk {
  const char* value;
  const uint16_t* scale;
  int value_step, scale_step, shift;

  __device__ __forceinline__ ColumnWalk(const MatrixView& m, int64_t row, int col, int step) {
    const int groups = static_cast<int>(GroupsPerRow(m.cols)), cols = static_cast<int>(m.cols), i = col % kGroup;
    const int bytes = F == WeightFormat::kQ4 ? 16 * groups : F == WeightFormat::kQ8 ? 32 * groups : F == WeightFormat::kBf16 ? 2 * cols : 4 * cols;
    const int at = F == WeightFormat::kQ4 ? col / kGroup * 16 + i % 16 : F == WeightFormat::kQ8 ? col : F == WeightFormat::kBf16 ? 2 * col : 4 * col;
    value = static_cast<const char*>(m.values) + row * bytes + at;
    scale = static_cast<const uint16_t*>(m.scales) + (IsQuantized(F) ? row * groups + col / kGroup : 0);
    value_step = bytes * step, scale_step = groups * step, shift = i < 16 ? 0 : 4;
  }
  __device__ __forceinline__ float Next() {
    float w;
    if constexpr (F == WeightFormat::kF32) w = __ldg(reinterpret_cast<const float*>(value));
    if constexpr (F == WeightFormat::kBf16) w = ToFloat(*reinterpret_cast<const Bf16*>(value));
    if constexpr (F == WeightFormat::kQ8) w = static_cast<float>(*reinterpret_cast<const int8_t*>(value)) * HalfToFloat(__ldg(scale));
    if constexpr (F == WeightFormat::kQ4) {
      w = static_cast<float>((__ldg(reinterpret_cast<const uint8_t*>(value)) >> shift & 15) - 8) * HalfToFloat(__ldg(scale));
    }
    value += value_step;
    if constexpr (IsQuantized(F)) scale += scale_step;
    return w;
  }
};

__device__ inline float WeightAt(const MatrixView& m, int64_t row, int col) {
  switch (m.format) {
    case WeightFormat::kF32: return WeightAtOf<WeightFormat::kF32>(m, row, col);
    case WeightFormat::kBf16: return WeightAtOf<WeightFormat::kBf16>(m, row, col);
    case WeightFormat::kQ8: return WeightAtOf<WeightFormat::kQ8>(m, row, col);
    case WeightFormat::kQ4: return WeightAtOf<WeightFormat::kQ4>(m, row, col);
  }
  return 0;
}

}  // namespace rill::cuda
