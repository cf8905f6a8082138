// kernels/cuda/decoder_phases.cuh — the phases of a fused decode step. A phase is work that every block shares out by its own
// number; between two phases lies a barrier across the grid. Vectors of the phase before come from the second-level
// cache (LoadShared), because other multiprocessors wrote them in this same launch.
#pragma once

#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/decoder_layout.h"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/kda.cuh"
#include "kernels/cuda/mla_tile.cuh"

namespace rill::cuda {

inline constexpr int kStepWarps = kStepThreads / kWarp;

// Shared memory that lives through the whole step; the rest of the block's shared memory belongs to the phase.
struct StepShared {
  StepParams params;
  StepLayer layer[2];             // this layer and the next
  float scratch[kMaxWarps];
  int ids[kMaxTopK];
  float weights[kMaxTopK];
  float partial[kStepThreads];
};

struct Step {
  const StepParams& p;
  const StepLayer& l;
  StepShared& shared;
  char* memory;                   // of the phase

  // This warp's first unit and the distance to its next: neighbours go to different multiprocessors.
  __device__ int first_unit() const { return ThreadId() / kWarp * GridSize() + BlockId(); }
  __device__ int unit_stride() const { return GridSize() * kStepWarps; }

  // Staged forms that this layer's weights want, at `to`; the caller skips what fits nothing.
  __device__ Staged Place(char* to, int K) const {
    Staged x = PlaceStaged(to, K);
    if (!l.needs_f) x.f = nullptr;
    if (!l.needs_q) x.q = nullptr;
    return x;
  }
};

// Asks for a matrix ahead of its phase: from DRAM into the second-level cache, while this block waits at the barrier.
__device__ inline void PrefetchBytes(const void* data, int64_t bytes) {
#if __CUDA_ARCH__ >= 900
  constexpr int64_t kPiece = 2048;
  const int64_t stride = int64_t{GridSize()} * kStepThreads;
  for (int64_t i = ThreadId() * int64_t{GridSize()} + BlockId(); i < bytes / kPiece; i += stride) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(static_cast<const char*>(data) + i * kPiece), "r"(static_cast<int>(kPiece)));
  }
#else
  const int64_t stride = int64_t{GridSize()} * kStepThreads;
  for (int64_t i = BlockId() * int64_t{kStepThreads} + ThreadId(); i < bytes / 128; i += stride) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(data) + i * 128));
  }
#endif
}
__device__ __forceinline__ void Prefetch(const MatrixView& m) {
  if (m.values == nullptr) return;
  PrefetchBytes(m.values, ValuesBytes(m.format, m.rows, m.cols));
  PrefetchBytes(m.scales, ScalesBytes(m.format, m.rows, m.cols));
}

// Input projections. Plain rows go one to a warp, from the last warp down, because those have fewer q4 rows to do; q4 rows go two
// to a warp.
struct InputsPhase {
  Q4Stream<kLanes, 1> stream;

  __device__ static int Find(const StepInputs& in, int first, int unit, int* begin) {
    int i = first;
    while (unit >= in.end[i]) ++i;
    *begin = i == first ? 0 : in.end[i - 1];
    return i;
  }
  __device__ static auto RowAt(const StepInputs& in) {
    return [&in](int unit, int) {
      int begin;
      const MatrixView& m = in.weight[Find(in, in.plain, unit, &begin)];
      return Q4RowOf(m, min(2 * (unit - begin) + ThreadId() % kWarp / kLanes, static_cast<int>(m.rows) - 1));
    };
  }
  __device__ __forceinline__ void Start(const Step& s) {
    stream.Start(s.first_unit(), s.l.inputs.q4_pairs(), s.unit_stride(), s.p.hidden, RowAt(s.l.inputs));
  }
  // `x` is the staged normed input.
  __device__ __forceinline__ void Finish(const Step& s, const Staged& x) {
    const StepInputs& in = s.l.inputs;
    float* out = s.p.scratch.projected;
    stream.Run(x, RowAt(in), [&](int unit, const float (&sums)[1]) {
      int begin;
      const int i = Find(in, in.plain, unit, &begin), row = 2 * (unit - begin) + ThreadId() % kWarp / kLanes;
      if (row < in.weight[i].rows && ThreadId() % kLanes == 0) out[in.offset[i] + row] = sums[0];
    });
    for (int unit = s.unit_stride() - 1 - s.first_unit(); unit < in.plain_rows(); unit += s.unit_stride()) {
      int begin;
      const int i = Find(in, 0, unit, &begin);
      const float y = RowDot<kWarp>(in.weight[i], unit - begin, x);
      if (ThreadId() % kWarp == 0) out[in.offset[i] + unit - begin] = y;
    }
  }
};

// x += W y for a staged y, two rows a warp.
struct OutputPhase {
  Q4Stream<kLanes, 1> stream;

  __device__ static int LaneRow() { return ThreadId() % kWarp / kLanes; }
  __device__ static auto RowAt(const MatrixView& m) {
    return [&m](int unit, int) { return Q4RowOf(m, min(2 * unit + LaneRow(), static_cast<int>(m.rows) - 1)); };
  }
  __device__ __forceinline__ void Start(const Step& s, const MatrixView& m) {
    const int units = m.format == WeightFormat::kQ4 ? (static_cast<int>(m.rows) + 1) / 2 : 0;
    stream.Start(s.first_unit(), units, s.unit_stride(), static_cast<int>(m.cols), RowAt(m));
  }
  __device__ __forceinline__ void Finish(const Step& s, const MatrixView& m, const Staged& y) {
    float* x = s.p.scratch.x;
    const int rows = static_cast<int>(m.rows);
    const auto add = [&](int unit, float sum) {
      const int row = 2 * unit + LaneRow();
      if (row < rows && ThreadId() % kLanes == 0) x[row] = LoadShared(x + row) + sum;
    };
    stream.Run(y, RowAt(m), [&](int unit, const float (&sums)[1]) { add(unit, sums[0]); });
    if (m.format == WeightFormat::kQ4) return;
    for (int unit = s.first_unit(); 2 * unit < rows; unit += s.unit_stride()) add(unit, RowDot(m, min(2 * unit + LaneRow(), rows - 1), y));
  }
};

// ---- KDA ------------------------------------------------------------------------------------------------------------

struct StepKdaShared {
  KdaShared<kStepSlice> token;
  float g[kMaxHeadDim];
  float gate[kStepSlice];
};

// Convolution and SiLU of one channel of q (which = 0), k or v; the tail itself moves on in the next phase, because the blocks of a
// head's other slices read it too. Taps and tail come before the barrier, the new input behind it.
struct ConvItem {
  static constexpr int kTaps = 4;  // more are loaded when they are needed
  float weight[kTaps], tail[kTaps - 1];
  int which, channel, d;

  // Item i of a slice: q and k of every key channel of the head, then v of the slice.
  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice, int i) {
    which = i < k.K ? 0 : i < 2 * k.K ? 1 : 2;
    d = i < k.K ? i : i < 2 * k.K ? i - k.K : slice * kStepSlice + i - 2 * k.K;
    channel = h * k.K + d;
    const float* w = k.conv[which] + channel * k.W;
    const float* t = k.tail + (static_cast<int64_t>(which) * k.C + channel) * (k.W - 1);
    const int skip = kTaps - k.W;  // zeros in front: the current token's tap is always the last one
#pragma unroll
    for (int j = 0; j < kTaps; ++j) weight[j] = j >= skip ? __ldg(w + j - skip) : 0.0f;
#pragma unroll
    for (int j = 0; j < kTaps - 1; ++j) tail[j] = j >= skip ? LoadShared(t + j - skip) : 0.0f;
  }
  __device__ __forceinline__ float Result(const StepKda& k, float x) const {
    float y = 0;
    if (k.W <= kTaps) {
#pragma unroll
      for (int j = 0; j < kTaps - 1; ++j) y = __fadd_rn(y, __fmul_rn(weight[j], tail[j]));
      return Silu(__fadd_rn(y, __fmul_rn(weight[kTaps - 1], x)));
    }
    const float* w = k.conv[which] + channel * k.W;
    const float* t = k.tail + (static_cast<int64_t>(which) * k.C + channel) * (k.W - 1);
    for (int j = 0; j < k.W - 1; ++j) y = __fadd_rn(y, __fmul_rn(w[j], LoadShared(t + j)));
    return Silu(__fadd_rn(y, __fmul_rn(w[k.W - 1], x)));
  }
  __device__ __forceinline__ void Put(StepKdaShared& x, int slice, float y) const {
    if (which == 0) x.token.q[d] = y;
    else if (which == 1) x.token.k[d] = y;
    else x.token.v[d - slice * kStepSlice] = y;
  }
};

// The low-rank gates' second halves of a slice, in the usual form (bf16, rank up to 128): asked for before anything else, because
// their trip to memory is the longest part of the phase.
struct GateRows {
  static constexpr int kMost = 4;  // of 32 rows each: more would not fit into the registers next to the state
  uint4 f[kMost], g;
  float bias[kMost], rate;

  __device__ static bool Covers(const StepKda& k) {
    return k.f_b.format == WeightFormat::kBf16 && k.g_b.format == WeightFormat::kBf16 && k.rank <= 8 * kLanes && k.rank % 8 == 0 &&
           k.K <= kMost * (kStepThreads / kLanes);
  }
  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice) {
    const int lane_row = ThreadId() / kLanes, sub = ThreadId() % kLanes;
    const bool inside = 8 * sub < k.rank;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      const int d = i * (kStepThreads / kLanes) + lane_row, row = h * k.K + min(d, k.K - 1);
      f[i] = LoadWeights(static_cast<const Bf16*>(k.f_b.values) + static_cast<int64_t>(row) * k.rank + 8 * sub, inside && d < k.K);
      bias[i] = __ldg(k.dt_bias + row);
    }
    const int64_t row = h * k.K + slice * kStepSlice + lane_row;
    g = LoadWeights(static_cast<const Bf16*>(k.g_b.values) + row * k.rank + 8 * sub, inside);
    rate = -expf(__ldg(k.a_log + h));
  }
};

__device__ inline void SetDecay(StepKdaShared& x, int d, float rate, float f) {
  x.g[d] = rate * Softplus(f);
  x.token.decay[d] = expf(x.g[d]);
}

// log decay of every key channel of the head and the output gate of the slice's value channels: 32 rows at a time, 16 lanes each.
__device__ __forceinline__ void GateHead(const StepKda& k, const GateRows& rows, const Staged& f, const Staged& g, StepKdaShared& x) {
  const int lane_row = ThreadId() / kLanes, sub = ThreadId() % kLanes;
  const auto dot = [&](uint4 w, const Staged& y) {
    const float4* at = reinterpret_cast<const float4*>(y.f) + 2 * min(sub, k.rank / 8 - 1);
    return LaneSum<kLanes>(Bf16Pairs(w, at[0], at[1]));
  };
#pragma unroll
  for (int i = 0; i < GateRows::kMost; ++i) {
    const int d = i * (kStepThreads / kLanes) + lane_row;
    if (i * (kStepThreads / kLanes) >= k.K) break;
    const float y = dot(rows.f[i], f);
    if (d < k.K && sub == 0) SetDecay(x, d, rows.rate, y + rows.bias[i]);
  }
  const float y = dot(rows.g, g);
  if (sub == 0) x.gate[lane_row] = Sigmoid(y);
}

// The same for any format and rank.
__device__ inline void GateHeadPlain(const StepKda& k, int h, int slice, const Staged& f, const Staged& g, StepKdaShared& x) {
  const int lane_row = ThreadId() / kLanes;
  const float rate = -expf(k.a_log[h]);
  for (int base = 0; base < k.K; base += kStepThreads / kLanes) {
    const int d = base + lane_row, row = h * k.K + min(d, k.K - 1);
    const float y = RowDot(k.f_b, row, f);
    if (d < k.K && ThreadId() % kLanes == 0) SetDecay(x, d, rate, y + k.dt_bias[row]);
  }
  const float y = RowDot(k.g_b, h * k.K + slice * kStepSlice + lane_row, g);
  if (ThreadId() % kLanes == 0) x.gate[lane_row] = Sigmoid(y);
}

// One warp: q and k to unit length, and q . k.
__device__ inline void NormalizeHead(int K, StepKdaShared& x) {
  const int lane = ThreadId() % kWarp;
  float qq = 0, kk = 0, qk = 0;
  for (int i = lane; i < K; i += kWarp) {
    const float q = x.token.q[i], k = x.token.k[i];
    qq = fmaf(q, q, qq);
    kk = fmaf(k, k, kk);
    qk = fmaf(q, k, qk);
  }
  const float q_root = sqrtf(LaneSum(qq) + 1e-6f), k_root = sqrtf(LaneSum(kk) + 1e-6f);
  qk = LaneSum(qk);
  for (int i = lane; i < K; i += kWarp) {
    x.token.q[i] /= q_root;
    x.token.k[i] /= k_root;
  }
  if (lane == 0) x.token.qk = qk / q_root / k_root;
}

__device__ inline void RecordToken(const Step& s, int h, int slice, const StepKdaShared& x) {
  const StepKda& k = s.l.kda;
  const int64_t slot = s.p.position % k.ring_tokens * k.H + h;
  if (ThreadId() < kStepSlice) k.ring_u[slot * k.K + slice * kStepSlice + ThreadId()] = x.token.u[ThreadId()];
  if (slice != 0) return;
  for (int i = ThreadId(); i < k.K; i += kStepThreads) {
    k.ring_k[slot * k.K + i] = x.token.k[i];
    k.ring_g[slot * k.K + i] = x.g[i];
  }
}

// What a slice needs that no other block makes in this step: asked for before the barrier.
struct KdaLoads {
  KdaTile<kStepSlice> tile;
  GateRows rows;
  ConvItem item;
  float o_norm;

  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice) {
    tile.Place(k.K, slice);
    item.Load(k, h, slice, min(ThreadId(), 2 * k.K + kStepSlice - 1));
    tile.Load(k.state + static_cast<int64_t>(h) * k.K * k.K, k.K);
    rows = {};
    if (GateRows::Covers(k)) rows.Load(k, h, slice);
    o_norm = __ldg(k.o_norm + slice * kStepSlice + ThreadId() % kStepSlice);
  }
};

// Convolution to gated norm for one slice of one head; the state is read once and written once. What is missing of the
// norm is the head's root, which needs all slices: each leaves its sum of squares, and the output phase divides.
__device__ __forceinline__ void KdaSlice(const Step& s, int h, int slice, KdaLoads& loads) {
  const StepKda& k = s.l.kda;
  StepKdaShared& x = *reinterpret_cast<StepKdaShared*>(s.memory);
  char* staged = s.memory + AlignUp(sizeof(StepKdaShared), 16);
  const Staged f = s.Place(staged, k.rank), g = s.Place(staged + StagedBytes(k.rank), k.rank);
  const float* projected = s.p.scratch.projected;
  const int* at = s.l.inputs.at;
  const int n_items = 2 * k.K + kStepSlice;
  const float input = LoadShared(projected + at[loads.item.which] + loads.item.channel);
  const float beta = LoadShared(projected + at[5] + h);
  Stage(f, k.rank, [&](int i) { return LoadShared(projected + at[3] + i); });
  Stage(g, k.rank, [&](int i) { return LoadShared(projected + at[4] + i); });
  if (ThreadId() < n_items) loads.item.Put(x, slice, loads.item.Result(k, input));
  for (int i = ThreadId() + kStepThreads; i < n_items; i += kStepThreads) {
    ConvItem item;
    item.Load(k, h, slice, i);
    item.Put(x, slice, item.Result(k, LoadShared(projected + at[item.which] + item.channel)));
  }
  if (ThreadId() == 0) x.token.beta = Sigmoid(beta);
  __syncthreads();
  if (ThreadId() / kWarp == kStepWarps - 1) NormalizeHead(k.K, x);
  if (GateRows::Covers(k)) GateHead(k, loads.rows, f, g, x);
  else GateHeadPlain(k, h, slice, f, g, x);
  __syncthreads();
  const float out = KdaToken<kStepSlice>(loads.tile, x.token, k.scale);
  loads.tile.Store(k.state + static_cast<int64_t>(h) * k.K * k.K, k.K);
  if (ThreadId() < kStepSlice) {  // one warp, one group
    const int d = slice * kStepSlice + ThreadId();
    const float squares = LaneSum(out * out), y = out * loads.o_norm * x.gate[ThreadId()];
    if (s.l.needs_f) s.p.scratch.mixed[h * k.K + d] = y;
    if (s.l.needs_q) QuantizeGroup(reinterpret_cast<char*>(s.p.scratch.mixed_groups) + (h * k.K + slice * kStepSlice) / kGroup * kStagedGroupBytes, y);
    if (ThreadId() == 0) s.p.scratch.squares[h * (k.K / kStepSlice) + slice] = squares;
  }
  if (k.ring_k != nullptr) RecordToken(s, h, slice, x);
  __syncthreads();
}

__device__ __forceinline__ void LoadSlice(const Step& s, int unit, KdaLoads& loads) {
  const int slices = s.l.kda.K / kStepSlice;
  unit = min(unit, s.l.kda.H * slices - 1);
  loads.Load(s.l.kda, unit / slices, unit % slices);
}

// `loads` are those of unit BlockId().
__device__ __forceinline__ void KdaMix(const Step& s, KdaLoads& loads) {
  const int slices = s.l.kda.K / kStepSlice;
  for (int unit = BlockId(); unit < s.l.kda.H * slices; unit += GridSize()) {
    KdaSlice(s, unit / slices, unit % slices, loads);
    if (unit + GridSize() < s.l.kda.H * slices) LoadSlice(s, unit + GridSize(), loads);
  }
}

// The convolutions' tails move on by this token's inputs. Neighbouring channels go to neighbouring threads: a tail is 12 bytes.
__device__ inline void AdvanceTails(const Step& s) {
  const StepKda& k = s.l.kda;
  constexpr int kMost = 7;
  for (int c = BlockId() * kStepThreads + ThreadId(); c < 3 * k.C; c += GridSize() * kStepThreads) {
    float* tail = k.tail + static_cast<int64_t>(c) * (k.W - 1);
    const float x = LoadShared(s.p.scratch.projected + s.l.inputs.at[c / k.C] + c % k.C);
    float kept[kMost];
#pragma unroll
    for (int j = 1; j < kMost; ++j) kept[j] = j < k.W - 1 ? LoadShared(tail + j) : 0.0f;
#pragma unroll
    for (int j = 1; j < kMost; ++j) {
      if (j < k.W - 1) tail[j - 1] = kept[j];
    }
    tail[k.W - 2] = x;
    if (k.conv_ring != nullptr) {
      k.conv_ring[(c / k.C * k.ring_tokens + s.p.position % k.ring_tokens) * k.C + c % k.C] = x;
    }
  }
}

// 1 / root of head h.
__device__ inline float InverseRoot(const Step& s, int h) {
  const StepKda& k = s.l.kda;
  const int slices = k.K / kStepSlice;
  float sum = 0;
  for (int i = 0; i < slices; ++i) sum += LoadShared(s.p.scratch.squares + h * slices + i);
  return 1.0f / sqrtf(sum / static_cast<float>(k.K) + k.norm_eps);
}

// The staged output of the KDA heads, normed. The caller puts a barrier behind it.
__device__ inline void StageHeads(const Step& s, const Staged& y) {
  const StepKda& k = s.l.kda;
  if (y.q != nullptr) {
    CopyGroups(y.q, reinterpret_cast<const char*>(s.p.scratch.mixed_groups), k.C / kGroup, [&](int group) { return InverseRoot(s, group * kGroup / k.K); });
  }
  if (y.f != nullptr) {
    for (int i = ThreadId(); i < k.C; i += kStepThreads) y.f[i] = LoadShared(s.p.scratch.mixed + i) * InverseRoot(s, i / k.K);
  }
}

// ---- MLA ------------------------------------------------------------------------------------------------------------

__device__ inline MlaTask TaskOf(const Step& s) {
  const StepMla& m = s.l.mla;
  return {static_cast<int>(m.shape.n_heads), static_cast<int>(m.shape.nope), static_cast<int>(m.shape.rope),
          static_cast<int>(m.shape.value), static_cast<int>(m.shape.latent), m.scale, m.kv_b, m.cache};
}

// The new row of the cache, and q~ of every head.
__device__ __forceinline__ void MlaAbsorb(const Step& s, const MlaTask& a) {
  const float* q = s.p.scratch.projected;
  const int columns = (a.R + kAbsorbColumns - 1) / kAbsorbColumns, units = a.H * columns;
  for (int unit = BlockId(); unit <= units; unit += GridSize()) {
    if (unit == units) {
      AppendRow(a, q + s.l.inputs.at[1], s.l.mla.kv_norm, s.l.mla.norm_eps, s.p.position, s.shared.scratch);
      __syncthreads();
    } else {
      const int h = unit / columns;
      Absorb(a, q + h * (a.N + a.P), h, unit % columns * kAbsorbColumns, s.p.scratch.absorbed + h * a.R, s.shared.partial);
    }
  }
}

// How many partials a head gets: as many as there are blocks and tiles to go round.
__device__ inline int CountSlots(const Step& s, const MlaTask& a) {
  const int64_t n_tiles = (s.p.position + kMlaTile) / kMlaTile;  // ceil((position + 1) / kMlaTile)
  const int sharers = FitsTile(a) ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
  const int blocks = max(1, min(static_cast<int>(GridSize()), kMaxSlots) / sharers);
  return n_tiles < blocks ? static_cast<int>(n_tiles) : blocks;
}

__device__ __forceinline__ void MlaAttend(const Step& s, const MlaTask& a) {
  const int n_slots = CountSlots(s, a);
  const int64_t length = s.p.position + 1;
  const bool tiles = FitsTile(a);
  const int sharers = tiles ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
  for (int unit = BlockId(); unit < n_slots * sharers; unit += GridSize()) {
    const int slot = unit % n_slots, sharer = unit / n_slots;
    const TileRange range = SlotTiles(length, slot, n_slots);
    const int h = tiles ? sharer * kTileHeads : sharer;
    float* partial = s.p.scratch.partials + (static_cast<int64_t>(slot) * a.H + h) * PartialFloats(a);
    const float* q = s.p.scratch.projected;
    if (tiles) {
      AttendTiles(a, s.p.scratch.absorbed, q, h, min(kTileHeads, a.H - h), length, range, partial, PartialFloats(a), s.memory, s.p.stages);
    } else {
      const int64_t end = range.end * kMlaTile < length ? range.end * kMlaTile : length;
      AttendPlain(a, s.p.scratch.absorbed + h * a.R, q + h * (a.N + a.P) + a.N, range.begin * kMlaTile, end, partial, s.shared.partial);
    }
    __syncthreads();
  }
}

__device__ __forceinline__ void MlaExpand(const Step& s, const MlaTask& a) {
  const int n_slots = CountSlots(s, a);
  const int parts = a.V >= 64 ? 4 : 1;
  for (int unit = BlockId(); unit < a.H * parts; unit += GridSize()) {
    const int h = unit / parts, part = unit % parts;
    ExpandHead(a, h, s.p.scratch.partials + h * PartialFloats(a), a.H * PartialFloats(a), n_slots, a.V * part / parts,
               a.V * (part + 1) / parts, s.p.scratch.mixed + h * a.V, s.memory);
  }
}

// ---- feed-forward ---------------------------------------------------------------------------------------------------

// silu(gate x) * (up x), one row a warp: rows unit, unit + stride, ... of [0, width) into `out`.
struct GluPhase {
  Q4Stream<kWarp, 2> stream;

  __device__ static bool Covers(const GluWeights& w) { return w.gate.format == WeightFormat::kQ4 && w.up.format == WeightFormat::kQ4; }
  __device__ static auto RowAt(const GluWeights& w) {
    return [&w](int row, int r) { return Q4RowOf(r == 0 ? w.gate : w.up, row); };
  }
  __device__ __forceinline__ void Start(const Step& s, int first) {
    const GluWeights& w = s.l.glu;
    stream.Start(first, Covers(w) ? static_cast<int>(w.width) : 0, s.unit_stride(), s.p.hidden, RowAt(w));
  }
  __device__ __forceinline__ void Finish(const Step& s, const Staged& x, int first, float* out) {
    const GluWeights& w = s.l.glu;
    const int width = static_cast<int>(w.width);
    stream.Run(x, RowAt(w), [&](int row, const float (&sums)[2]) {
      if (ThreadId() % kWarp == 0) out[row] = Silu(sums[0]) * sums[1];
    });
    if (Covers(w)) return;
    for (int row = first; row < width; row += s.unit_stride()) {
      const float y = GluDot<kWarp>(w.gate, w.up, row, x);
      if (ThreadId() % kWarp == 0) out[row] = y;
    }
  }
};

// Router logits, from the last warp down, and the shared experts' gate and up: they need no choice. A warp takes whole rows, because
// there are few.
struct RoutePhase {
  GluPhase glu;

  __device__ __forceinline__ void Start(const Step& s) { glu.Start(s, s.first_unit()); }
  __device__ __forceinline__ void Finish(const Step& s, const Staged& x) {
    const StepMoe& m = s.l.moe;
    glu.Finish(s, x, s.first_unit(), s.p.scratch.activated + m.top_k * m.experts.width);
    for (int row = s.unit_stride() - 1 - s.first_unit(); row < m.router.rows; row += s.unit_stride()) {
      const float y = RowDot<kWarp>(m.router, row, x);
      if (ThreadId() % kWarp == 0) s.p.scratch.logits[row] = y;
    }
  }
};

// The usual choice (up to 256 experts, no groups, sigmoid) with everything in one warp's registers; the bias comes before the barrier.
struct QuickChoice {
  static constexpr int kEach = 8;
  float bias[kEach];

  __device__ static bool Covers(const StepMoe& m) {
    return m.router.rows <= kEach * kWarp && m.topk_groups == m.n_groups && m.activation == RouterActivation::kSigmoid;
  }
  __device__ __forceinline__ void Load(const StepMoe& m) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int e = ThreadId() % kWarp + kWarp * j;
      bias[j] = m.router_bias != nullptr && e < m.router.rows ? __ldg(m.router_bias + e) : 0.0f;
    }
  }
  // One whole warp.
  __device__ __forceinline__ void Choose(const StepMoe& m, const float* logits, int* ids, float* weights) const {
    const int lane = ThreadId() % kWarp, E = static_cast<int>(m.router.rows);
    float score[kEach];
    uint32_t key[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) score[j] = lane + kWarp * j < E ? LoadShared(logits + lane + kWarp * j) : 0.0f;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      score[j] = Sigmoid(score[j]);
      key[j] = lane + kWarp * j < E ? OrderedKey(score[j] + bias[j]) : 0;
    }
    float sum = 0, mine = 0;
    for (int i = 0; i < m.top_k; ++i) {
      uint32_t best = 0;
      float best_score = 0;
      int where = 0;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (key[j] > best) best = key[j], best_score = score[j], where = j;
      }
      const uint32_t max = __reduce_max_sync(0xffffffffu, best);
      const uint32_t id = __reduce_min_sync(0xffffffffu, best == max ? static_cast<uint32_t>(lane + kWarp * where) : 0xffffffffu);
      const float chosen = __shfl_sync(0xffffffffu, best_score, static_cast<int>(id) % kWarp);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (static_cast<uint32_t>(lane + kWarp * j) == id) key[j] = 0;
      }
      if (lane == i) {
        ids[i] = static_cast<int>(id);
        mine = chosen;
      }
      sum += chosen;
    }
    if (m.renormalize && m.top_k > 1) mine /= sum + 1e-20f;
    if (lane < m.top_k) weights[lane] = mine * m.scaling;
  }
};

// Every block makes the same choice for itself.
__device__ __forceinline__ void ChooseExperts(const Step& s, const QuickChoice& quick, char* memory) {
  const StepMoe& m = s.l.moe;
  const int E = static_cast<int>(m.router.rows);
  if (QuickChoice::Covers(m)) {
    if (ThreadId() < kWarp) quick.Choose(m, s.p.scratch.logits, s.shared.ids, s.shared.weights);
    __syncthreads();
    return;
  }
  float* scores = reinterpret_cast<float*>(memory);
  for (int e = ThreadId(); e < E; e += kStepThreads) scores[e] = LoadShared(s.p.scratch.logits + e);
  __syncthreads();
  if (ThreadId() < kWarp) {
    const Choice choice = {m.activation, m.top_k, m.n_groups, m.topk_groups, E, m.renormalize, m.scaling};
    Choose(choice, m.router_bias, scores, s.shared.ids, s.shared.weights, scores + E);
  }
  __syncthreads();
}

// True when the chosen experts' activations travel as integer groups.
__device__ inline bool TravelsAsGroups(const StepMoe& m) {
  return m.experts.format == WeightFormat::kQ4 && m.experts.width % kGroup == 0;
}

// Gate and up of the chosen experts. A block takes 32 neighbouring rows of one expert at a time, two a warp: one group of the down
// projection's input, which it also brings into integer form.
__device__ __forceinline__ void ExpertGlu(const Step& s, const Staged& x) {
  const StepMoe& m = s.l.moe;
  const int width = static_cast<int>(m.experts.width), each = (width + kGroup - 1) / kGroup, tasks = m.top_k * each;
  float* out = s.p.scratch.activated;
  const auto row_of = [&](int task) { return task % each * kGroup + ThreadId() / kLanes; };
  const auto write = [&](int task, float y) {
    const int row = row_of(task);
    if (row < width && ThreadId() % kLanes == 0) out[task / each * width + row] = y;
  };
  const auto matrix = [&](int task, ExpertPart part) { return ExpertMatrix(m.experts, s.shared.ids[task / each], part); };
  if (m.experts.format == WeightFormat::kQ4) {
    const auto row_at = [&](int task, int r) {
      return Q4RowOf(matrix(task, r == 0 ? ExpertPart::kGate : ExpertPart::kUp), min(row_of(task), width - 1));
    };
    Q4Stream<kLanes, 2> stream;
    stream.Start(BlockId(), tasks, GridSize(), s.p.hidden, row_at);
    stream.Run(x, row_at, [&](int task, const float (&sums)[2]) { write(task, Silu(sums[0]) * sums[1]); });
  } else {
    for (int task = BlockId(); task < tasks; task += GridSize()) {
      write(task, GluDot(matrix(task, ExpertPart::kGate), matrix(task, ExpertPart::kUp), min(row_of(task), width - 1), x));
    }
  }
  if (!TravelsAsGroups(m)) return;
  __syncthreads();
  char* groups = reinterpret_cast<char*>(s.p.scratch.activated_groups);
  for (int task = BlockId() + ThreadId() / kWarp * GridSize(); task < tasks; task += GridSize() * kStepWarps) {
    QuantizeGroup(groups + task * kStagedGroupBytes, LoadShared(out + task * kGroup + ThreadId() % kWarp));
  }
}

// Down projections: a job is one row of one expert and belongs to one warp. kAtOnce jobs are in flight together.
struct DownJobs {
  const MatrixView* matrix;  // [n_experts]
  const Staged* x;           // [n_experts]
  int n_experts, first_row;
};

inline constexpr int kAtOnce = 6;

// The first groups of kAtOnce jobs, job + i * kStepWarps, of rows of up to 32 groups.
struct DownChunk {
  uint4 w[kAtOnce];
  uint16_t scale[kAtOnce];
};

__device__ __forceinline__ void LoadDown(const DownJobs& d, int job, int n_jobs, int group, DownChunk& c) {
#pragma unroll
  for (int i = 0; i < kAtOnce; ++i) {
    const int j = job + i * kStepWarps, row = j / d.n_experts, e = j < n_jobs ? j - row * d.n_experts : 0;
    const MatrixView& m = d.matrix[e];
    const int n = static_cast<int>(GroupsPerRow(m.cols));
    const bool wanted = j < n_jobs && group < n;
    const int64_t at = static_cast<int64_t>(d.first_row + row) * n + group;
    c.w[i] = LoadWeights(static_cast<const uint4*>(m.values) + at, wanted);
    c.scale[i] = LoadScaleBits(static_cast<const uint16_t*>(m.scales) + at, wanted);
  }
}

__device__ __forceinline__ void DownDot(const DownJobs& d, int job, int n_jobs, int group, const DownChunk& c, float (&sum)[kAtOnce]) {
#pragma unroll
  for (int i = 0; i < kAtOnce; ++i) {
    const int j = job + i * kStepWarps, row = j / d.n_experts, e = j < n_jobs ? j - row * d.n_experts : 0;
    const int at = min(group, static_cast<int>(GroupsPerRow(d.matrix[e].cols)) - 1);  // behind the end the scale is zero
    sum[i] = fmaf(HalfToFloat(c.scale[i]), Q4Group(c.w[i], ReadGroup(d.x[e], at)), sum[i]);
  }
}

// part[row][expert] for rows [first_row, first_row + n_rows). `first` holds the loads of this warp's first jobs when all is q4.
__device__ __forceinline__ void DownRows(const DownJobs& d, int n_rows, int groups, bool all_q4, const DownChunk& first, float* part) {
  const int n_jobs = n_rows * d.n_experts, lane = ThreadId() % kWarp, warp = ThreadId() / kWarp;
  for (int job = warp; job < n_jobs; job += kStepWarps * kAtOnce) {
    float sum[kAtOnce] = {};
    if (all_q4) {
      for (int group = lane; group - lane < groups; group += kWarp) {
        DownChunk c = first;
        if (job != warp || group != lane) LoadDown(d, job, n_jobs, group, c);
        DownDot(d, job, n_jobs, group, c, sum);
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int j = job + i * kStepWarps;
      if (j >= n_jobs) continue;
      const int row = j / d.n_experts, e = j - row * d.n_experts;
      const float y = all_q4 ? LaneSum(sum[i]) : RowDot<kWarp>(d.matrix[e], d.first_row + row, d.x[e]);
      if (lane == 0) part[j] = y;
    }
  }
}

struct DownShared {
  MatrixView matrix[kMaxTopK + 1];
  Staged x[kMaxTopK + 1];
};

// x += sum_j weight_j Down_j a_j + the shared experts' answer. A block owns a run of rows; the sum of a row is made by one thread in
// the order of the choices.
struct DownPhase {
  DownChunk first;
  int n_experts, begin, end, at_once, groups;
  bool all_q4;

  __device__ __forceinline__ int Rows(int row) const { return min(at_once, end - row); }
  __device__ __forceinline__ char* Memory(const Step& s) const { return s.memory + AlignUp(sizeof(DownShared), 16); }

  // The choice is known, so the weights can be asked for before the activations are there. The phase memory is free by now.
  __device__ __forceinline__ void Start(const Step& s) {
    const StepMoe& m = s.l.moe;
    DownShared& d = *reinterpret_cast<DownShared*>(s.memory);
    const int width = static_cast<int>(m.experts.width), shared_width = static_cast<int>(s.l.glu.width);
    n_experts = m.top_k + (shared_width > 0);
    all_q4 = m.experts.format == WeightFormat::kQ4 && (shared_width == 0 || s.l.glu.down.format == WeightFormat::kQ4);
    groups = static_cast<int>(GroupsPerRow(max(width, shared_width)));
    begin = static_cast<int>(int64_t{s.p.hidden} * BlockId() / GridSize());
    end = static_cast<int>(int64_t{s.p.hidden} * (BlockId() + 1) / GridSize());
    at_once = max(1, kStepThreads / n_experts);
    for (int j = ThreadId(); j < n_experts; j += kStepThreads) {
      d.matrix[j] = j < m.top_k ? ExpertMatrix(m.experts, s.shared.ids[j], ExpertPart::kDown) : s.l.glu.down;
      d.x[j] = PlaceStaged(Memory(s) + j * StagedBytes(width), j < m.top_k ? width : shared_width);
      if (all_q4) d.x[j].f = nullptr;
    }
    __syncthreads();
    first = {};
    if (all_q4) LoadDown({d.matrix, d.x, n_experts, begin}, ThreadId() / kWarp, Rows(begin) * n_experts, ThreadId() % kWarp, first);
  }

  // Activations [0, n) of `from` into x, a warp a group.
  __device__ static void StageFloats(const Staged& x, const float* from, int n) {
    Stage(x, n, [&](int i) { return LoadShared(from + i); });
  }
  __device__ __forceinline__ void StageActivated(const Step& s, const DownShared& d) const {
    const StepMoe& m = s.l.moe;
    const int width = static_cast<int>(m.experts.width);
    if (TravelsAsGroups(m) && all_q4) {
      // Experts' groups follow each other in device memory; in shared memory each expert has room for both forms.
      const char* from = reinterpret_cast<const char*>(s.p.scratch.activated_groups);
      const int each = width / kGroup, pieces = kStagedGroupBytes / 16, n = m.top_k * each * pieces;
      constexpr int kBatch = 3;
      for (int i0 = ThreadId(); i0 < n; i0 += kBatch * kStepThreads) {
        uint4 v[kBatch];
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
          const int i = i0 + b * kStepThreads;
          v[b] = i < n ? __ldcg(reinterpret_cast<const uint4*>(from) + i) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
          const int i = i0 + b * kStepThreads, j = i / (each * pieces);
          if (i < n) reinterpret_cast<uint4*>(d.x[j].q)[i - j * each * pieces] = v[b];
        }
      }
    } else {
      for (int j = 0; j < m.top_k; ++j) StageFloats(d.x[j], s.p.scratch.activated + j * width, width);
    }
    if (s.l.glu.width > 0) StageFloats(d.x[m.top_k], s.p.scratch.activated + m.top_k * width, static_cast<int>(s.l.glu.width));
  }

  __device__ __forceinline__ void Finish(const Step& s) {
    DownShared& d = *reinterpret_cast<DownShared*>(s.memory);
    const StepMoe& m = s.l.moe;
    float* part = reinterpret_cast<float*>(Memory(s) + m.top_k * StagedBytes(m.experts.width) + StagedBytes(s.l.glu.width));
    StageActivated(s, d);
    __syncthreads();
    for (int row = begin; row < end; row += at_once) {
      const int n_rows = Rows(row);
      const DownJobs jobs = {d.matrix, d.x, n_experts, row};
      if (row != begin && all_q4) LoadDown(jobs, ThreadId() / kWarp, n_rows * n_experts, ThreadId() % kWarp, first);
      DownRows(jobs, n_rows, groups, all_q4, first, part);
      __syncthreads();
      if (ThreadId() < n_rows) {
        const float* mine = part + ThreadId() * n_experts;
        float* x = s.p.scratch.x + row + ThreadId();
        const float before = LoadShared(x);
        float sum = 0;
        for (int j = 0; j < m.top_k; ++j) sum = fmaf(s.shared.weights[j], mine[j], sum);
        if (n_experts > m.top_k) sum += mine[m.top_k];
        *x = before + sum;
      }
      __syncthreads();
    }
  }
};

__device__ __forceinline__ void PrefetchDown(const Step& s) {
  const StepMoe& m = s.l.moe;
  for (int j = 0; j < m.top_k; ++j) Prefetch(ExpertMatrix(m.experts, s.shared.ids[j], ExpertPart::kDown));
  Prefetch(s.l.glu.down);
}

}  // namespace rill::cuda
