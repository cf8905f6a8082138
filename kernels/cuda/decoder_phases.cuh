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
  __device__ int first_unit() const { return threadIdx.x / kWarp * gridDim.x + blockIdx.x; }
  __device__ int unit_stride() const { return gridDim.x * kStepWarps; }

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
  const int64_t stride = int64_t{gridDim.x} * kStepThreads;
  for (int64_t i = threadIdx.x * int64_t{gridDim.x} + blockIdx.x; i < bytes / kPiece; i += stride) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(static_cast<const char*>(data) + i * kPiece), "r"(static_cast<int>(kPiece)));
  }
#else
  const int64_t stride = int64_t{gridDim.x} * kStepThreads;
  for (int64_t i = blockIdx.x * int64_t{kStepThreads} + threadIdx.x; i < bytes / 128; i += stride) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(data) + i * 128));
  }
#endif
}
__device__ inline void Prefetch(const MatrixView& m) {
  if (m.values == nullptr) return;
  PrefetchBytes(m.values, ValuesBytes(m.format, m.rows, m.cols));
  PrefetchBytes(m.scales, ScalesBytes(m.format, m.rows, m.cols));
}

// Input projections, two rows a warp. `x` is the staged normed input.
__device__ inline void ProjectInputs(const Step& s, const Staged& x) {
  const StepInputs& in = s.l.inputs;
  int i = 0;
  for (int unit = s.first_unit(); unit < in.end[in.count - 1]; unit += s.unit_stride()) {
    while (unit >= in.end[i]) ++i;
    const MatrixView& m = in.weight[i];
    const int row = 2 * (unit - (i == 0 ? 0 : in.end[i - 1])) + threadIdx.x % kWarp / kLanes;
    const bool inside = row < m.rows;
    const float y = RowDot(m, inside ? row : static_cast<int>(m.rows) - 1, x);
    if (inside && threadIdx.x % kLanes == 0) s.p.scratch.projected[in.offset[i] + row] = y;
  }
}

// x += W y for a staged y.
__device__ inline void ProjectOutput(const Step& s, const MatrixView& m, const Staged& y) {
  const int units = (static_cast<int>(m.rows) + 1) / 2;
  for (int unit = s.first_unit(); unit < units; unit += s.unit_stride()) {
    const int row = 2 * unit + threadIdx.x % kWarp / kLanes;
    const bool inside = row < m.rows;
    const float sum = RowDot(m, inside ? row : static_cast<int>(m.rows) - 1, y);
    if (inside && threadIdx.x % kLanes == 0) s.p.scratch.x[row] = LoadShared(s.p.scratch.x + row) + sum;
  }
}

// ---- KDA ------------------------------------------------------------------------------------------------------------

struct StepKdaShared {
  KdaShared<kStepSlice> token;
  float g[kMaxHeadDim];
  float gate[kStepSlice];
};

// Convolution and SiLU of one channel of q (which = 0), k or v; the tail itself moves on in the next phase, because the blocks of a
// head's other slices read it too.
__device__ inline float Convolve(const Step& s, int which, int channel) {
  const StepKda& k = s.l.kda;
  const float* tail = k.tail + (static_cast<int64_t>(which) * k.C + channel) * (k.W - 1);
  const float* weight = k.conv[which] + channel * k.W;
  float y = 0;
  for (int j = 0; j < k.W - 1; ++j) y = __fadd_rn(y, __fmul_rn(weight[j], LoadShared(tail + j)));
  y = __fadd_rn(y, __fmul_rn(weight[k.W - 1], LoadShared(s.p.scratch.projected + s.l.inputs.offset[which] + channel)));
  return Silu(y);
}

__device__ inline void ConvolveHead(const Step& s, int h, int slice, StepKdaShared& x) {
  const int K = s.l.kda.K;
  for (int i = threadIdx.x; i < 2 * K + kStepSlice; i += kStepThreads) {
    const int which = i < K ? 0 : i < 2 * K ? 1 : 2;
    const int d = i < K ? i : i < 2 * K ? i - K : slice * kStepSlice + i - 2 * K;
    const float y = Convolve(s, which, h * K + d);
    if (which == 0) x.token.q[d] = y;
    else if (which == 1) x.token.k[d] = y;
    else x.token.v[i - 2 * K] = y;
  }
}

// log decay of every key channel of the head and the output gate of the slice's value channels.
__device__ inline void GateHead(const Step& s, int h, int slice, const Staged& f, const Staged& g, StepKdaShared& x) {
  const StepKda& k = s.l.kda;
  const int lane_row = threadIdx.x / kLanes;
  const float rate = -expf(k.a_log[h]);
  for (int base = 0; base < k.K; base += kStepThreads / kLanes) {
    const int i = base + lane_row, row = h * k.K + min(i, k.K - 1);
    const float y = RowDot(k.f_b, row, f);
    if (i < k.K && threadIdx.x % kLanes == 0) {
      x.g[i] = rate * Softplus(y + k.dt_bias[row]);
      x.token.decay[i] = expf(x.g[i]);
    }
  }
  const int row = h * k.K + slice * kStepSlice + lane_row;  // 32 rows for 32 groups of lanes
  const float y = RowDot(k.g_b, row, g);
  if (threadIdx.x % kLanes == 0) x.gate[lane_row] = Sigmoid(y);
}

// q and k to unit length: warp 0 and warp 1; then q . k in warp 0.
__device__ inline void NormalizeHead(const Step& s, StepKdaShared& x) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, K = s.l.kda.K;
  if (warp < 2) {
    float* v = warp == 0 ? x.token.q : x.token.k;
    float sum = 0;
    for (int i = lane; i < K; i += kWarp) sum = fmaf(v[i], v[i], sum);
    const float root = sqrtf(LaneSum(sum) + 1e-6f);
    for (int i = lane; i < K; i += kWarp) v[i] /= root;
  }
  __syncthreads();
  if (warp == 0) {
    float sum = 0;
    for (int i = lane; i < K; i += kWarp) sum = fmaf(x.token.q[i], x.token.k[i], sum);
    sum = LaneSum(sum);
    if (lane == 0) x.token.qk = sum;
  }
}

__device__ inline void RecordToken(const Step& s, int h, int slice, const StepKdaShared& x) {
  const StepKda& k = s.l.kda;
  const int64_t slot = s.p.position % k.ring_tokens * k.H + h;
  if (threadIdx.x < kStepSlice) k.ring_u[slot * k.K + slice * kStepSlice + threadIdx.x] = x.token.u[threadIdx.x];
  if (slice != 0) return;
  for (int i = threadIdx.x; i < k.K; i += kStepThreads) {
    k.ring_k[slot * k.K + i] = x.token.k[i];
    k.ring_g[slot * k.K + i] = x.g[i];
  }
}

// Convolution to gated norm for one slice of one head; the state is read once and written once. What is missing of the
// norm is the head's root, which needs all slices: each leaves its sum of squares, and the output phase divides.
__device__ inline void KdaSlice(const Step& s, int h, int slice) {
  const StepKda& k = s.l.kda;
  StepKdaShared& x = *reinterpret_cast<StepKdaShared*>(s.memory);
  char* staged = s.memory + AlignUp(sizeof(StepKdaShared), 16);
  const Staged f = s.Place(staged, k.rank), g = s.Place(staged + StagedBytes(k.rank), k.rank);
  float* state = k.state + static_cast<int64_t>(h) * k.K * k.K;
  KdaTile<kStepSlice> tile(k.K, slice);
  tile.Load(state, k.K);
  const float* projected = s.p.scratch.projected;
  const int* offset = s.l.inputs.offset;
  Stage(f, k.rank, [&](int i) { return LoadShared(projected + offset[3] + i); });
  Stage(g, k.rank, [&](int i) { return LoadShared(projected + offset[4] + i); });
  ConvolveHead(s, h, slice, x);
  if (threadIdx.x == 0) x.token.beta = Sigmoid(LoadShared(projected + offset[5] + h));
  __syncthreads();
  GateHead(s, h, slice, f, g, x);
  NormalizeHead(s, x);
  __syncthreads();
  float out = KdaToken<kStepSlice>(tile, x.token, k.scale);
  tile.Store(state, k.K);
  if (threadIdx.x < kStepSlice) {  // one warp
    const int d = slice * kStepSlice + threadIdx.x;
    const float squares = LaneSum(out * out);
    s.p.scratch.mixed[h * k.K + d] = out * k.o_norm[d] * x.gate[threadIdx.x];
    if (threadIdx.x == 0) s.p.scratch.squares[h * (k.K / kStepSlice) + slice] = squares;
  }
  if (k.ring_k != nullptr) RecordToken(s, h, slice, x);
  __syncthreads();
}

__device__ inline void KdaMix(const Step& s) {
  const int slices = s.l.kda.K / kStepSlice;
  for (int unit = blockIdx.x; unit < s.l.kda.H * slices; unit += gridDim.x) KdaSlice(s, unit / slices, unit % slices);
}

// The convolutions' tails move on by this token's inputs.
__device__ inline void AdvanceTails(const Step& s) {
  const StepKda& k = s.l.kda;
  for (int c = blockIdx.x * kStepThreads + threadIdx.x; c < 3 * k.C; c += gridDim.x * kStepThreads) {
    float* tail = k.tail + static_cast<int64_t>(c) * (k.W - 1);
    const float x = LoadShared(s.p.scratch.projected + s.l.inputs.offset[c / k.C] + c % k.C);
    for (int j = 0; j + 1 < k.W - 1; ++j) tail[j] = LoadShared(tail + j + 1);
    tail[k.W - 2] = x;
    if (k.conv_ring != nullptr) {
      k.conv_ring[(c / k.C * k.ring_tokens + s.p.position % k.ring_tokens) * k.C + c % k.C] = x;
    }
  }
}

// The staged output of the KDA heads, normed.
__device__ inline void StageHeads(const Step& s, const Staged& y) {
  const StepKda& k = s.l.kda;
  float* inverse = reinterpret_cast<float*>(s.memory + StagedBytes(k.C));
  const int slices = k.K / kStepSlice;
  for (int h = threadIdx.x; h < k.H; h += kStepThreads) {
    float sum = 0;
    for (int i = 0; i < slices; ++i) sum += LoadShared(s.p.scratch.squares + h * slices + i);
    inverse[h] = 1.0f / sqrtf(sum / static_cast<float>(k.K) + k.norm_eps);
  }
  __syncthreads();
  Stage(y, k.C, [&](int i) { return LoadShared(s.p.scratch.mixed + i) * inverse[i / k.K]; });
}

// ---- MLA ------------------------------------------------------------------------------------------------------------

__device__ inline MlaTask TaskOf(const Step& s) {
  const StepMla& m = s.l.mla;
  return {static_cast<int>(m.shape.n_heads), static_cast<int>(m.shape.nope), static_cast<int>(m.shape.rope),
          static_cast<int>(m.shape.value), static_cast<int>(m.shape.latent), m.scale, m.kv_b, m.cache};
}

// The new row of the cache, and q~ of every head.
__device__ inline void MlaAbsorb(const Step& s, const MlaTask& a) {
  const float* q = s.p.scratch.projected;
  const int columns = (a.R + kAbsorbColumns - 1) / kAbsorbColumns, units = a.H * columns;
  for (int unit = blockIdx.x; unit <= units; unit += gridDim.x) {
    if (unit == units) {
      AppendRow(a, q + s.l.inputs.offset[1], s.l.mla.kv_norm, s.l.mla.norm_eps, s.p.position, s.shared.scratch);
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
  const int blocks = max(1, min(static_cast<int>(gridDim.x), kMaxSlots) / sharers);
  return n_tiles < blocks ? static_cast<int>(n_tiles) : blocks;
}

__device__ inline void MlaAttend(const Step& s, const MlaTask& a) {
  const int n_slots = CountSlots(s, a);
  const int64_t length = s.p.position + 1;
  const bool tiles = FitsTile(a);
  const int sharers = tiles ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
  for (int unit = blockIdx.x; unit < n_slots * sharers; unit += gridDim.x) {
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

__device__ inline void MlaExpand(const Step& s, const MlaTask& a) {
  const int n_slots = CountSlots(s, a);
  const int parts = a.V >= 64 ? 4 : 1;
  for (int unit = blockIdx.x; unit < a.H * parts; unit += gridDim.x) {
    const int h = unit / parts, part = unit % parts;
    ExpandHead(a, h, s.p.scratch.partials + h * PartialFloats(a), a.H * PartialFloats(a), n_slots, a.V * part / parts,
               a.V * (part + 1) / parts, s.p.scratch.mixed + h * a.V, s.memory);
  }
}

// ---- feed-forward ---------------------------------------------------------------------------------------------------

// silu(gate x) * (up x) of rows [0, width) into `out`; units [first, ...) of this warp.
__device__ inline void GluRows(const Step& s, const GluWeights& w, const Staged& x, int unit, float* out) {
  const int units = (static_cast<int>(w.width) + 1) / 2;
  for (; unit < units; unit += s.unit_stride()) {
    const int row = 2 * unit + threadIdx.x % kWarp / kLanes;
    const bool inside = row < w.width;
    const float y = GluDot(w.gate, w.up, inside ? row : static_cast<int>(w.width) - 1, x);
    if (inside && threadIdx.x % kLanes == 0) out[row] = y;
  }
}

// Router logits, then the shared experts' gate and up: they need no choice.
__device__ inline void RouteAndShare(const Step& s, const Staged& x) {
  const StepMoe& m = s.l.moe;
  const int E = static_cast<int>(m.router.rows), units = (E + 1) / 2;
  int unit = s.first_unit();
  for (; unit < units; unit += s.unit_stride()) {
    const int row = 2 * unit + threadIdx.x % kWarp / kLanes;
    const float y = RowDot(m.router, row < E ? row : E - 1, x);
    if (row < E && threadIdx.x % kLanes == 0) s.p.scratch.logits[row] = y;
  }
  GluRows(s, s.l.glu, x, unit - units, s.p.scratch.activated + m.top_k * m.experts.width);
}

// Every block makes the same choice for itself.
__device__ inline void ChooseExperts(const Step& s, char* memory) {
  const StepMoe& m = s.l.moe;
  const int E = static_cast<int>(m.router.rows);
  float* scores = reinterpret_cast<float*>(memory);
  for (int e = threadIdx.x; e < E; e += kStepThreads) scores[e] = LoadShared(s.p.scratch.logits + e);
  __syncthreads();
  if (threadIdx.x < kWarp) {
    const Choice choice = {m.activation, m.top_k, m.n_groups, m.topk_groups, E, m.renormalize, m.scaling};
    Choose(choice, m.router_bias, scores, s.shared.ids, s.shared.weights, scores + E);
  }
  __syncthreads();
}

__device__ inline void ExpertGlu(const Step& s, const Staged& x) {
  const StepMoe& m = s.l.moe;
  const int width = static_cast<int>(m.experts.width), each = (width + 1) / 2;
  for (int unit = s.first_unit(); unit < m.top_k * each; unit += s.unit_stride()) {
    const int j = unit / each, e = s.shared.ids[j];
    const int row = 2 * (unit % each) + threadIdx.x % kWarp / kLanes;
    const bool inside = row < width;
    const float y = GluDot(ExpertMatrix(m.experts, e, ExpertPart::kGate), ExpertMatrix(m.experts, e, ExpertPart::kUp),
                           inside ? row : width - 1, x);
    if (inside && threadIdx.x % kLanes == 0) s.p.scratch.activated[j * width + row] = y;
  }
}

// Down projections: a job is one row of one expert and belongs to one warp. kAtOnce jobs are in flight together.
struct DownJobs {
  const MatrixView* matrix;  // [n_experts]
  const Staged* x;           // [n_experts]
  int n_experts, first_row;
};

inline constexpr int kAtOnce = 6;

__device__ inline void DownQ4(const DownJobs& d, int job, int n_jobs, float (&sum)[kAtOnce]) {
  const int lane = threadIdx.x % kWarp;
  int groups = 0;
  for (int e = 0; e < d.n_experts; ++e) groups = max(groups, static_cast<int>(GroupsPerRow(d.matrix[e].cols)));
  for (int group = lane; group - lane < groups; group += kWarp) {
    uint4 w[kAtOnce];
    float scale[kAtOnce];
    const Staged* x[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int j = job + i * kStepWarps;
      x[i] = nullptr;
      if (j >= n_jobs) continue;
      const MatrixView& m = d.matrix[j % d.n_experts];
      const int n = static_cast<int>(GroupsPerRow(m.cols));
      if (group >= n) continue;
      const int64_t at = static_cast<int64_t>(d.first_row + j / d.n_experts) * n + group;
      w[i] = LoadWeights(static_cast<const uint4*>(m.values) + at);
      scale[i] = LoadScale(m.scales, at);
      x[i] = &d.x[j % d.n_experts];
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (x[i] != nullptr) sum[i] = fmaf(scale[i], Q4Group(w[i], ReadGroup(*x[i], group)), sum[i]);
    }
  }
}

// part[row][expert] for rows [first_row, first_row + n_rows).
__device__ inline void DownRows(const DownJobs& d, int n_rows, bool all_q4, float* part) {
  const int n_jobs = n_rows * d.n_experts;
  for (int job = threadIdx.x / kWarp; job < n_jobs; job += kStepWarps * kAtOnce) {
    float sum[kAtOnce] = {};
    if (all_q4) {
      DownQ4(d, job, n_jobs, sum);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int j = job + i * kStepWarps;
      if (j >= n_jobs) continue;
      const float y = all_q4 ? LaneSum(sum[i])
                             : RowDot<kWarp>(d.matrix[j % d.n_experts], d.first_row + j / d.n_experts, d.x[j % d.n_experts]);
      if (threadIdx.x % kWarp == 0) part[j] = y;
    }
  }
}

struct DownShared {
  MatrixView matrix[kMaxTopK + 1];
  Staged x[kMaxTopK + 1];
};

// Stages the activations of all experts, one behind the other; returns the end of the memory they took.
__device__ inline char* StageActivated(const Step& s, DownShared& d, char* memory, int* n_experts, bool* all_q4) {
  const StepMoe& m = s.l.moe;
  const int width = static_cast<int>(m.experts.width), shared_width = static_cast<int>(s.l.glu.width);
  const int n = m.top_k + (shared_width > 0);
  *n_experts = n;
  *all_q4 = m.experts.format == WeightFormat::kQ4 && (shared_width == 0 || s.l.glu.down.format == WeightFormat::kQ4);
  const auto x_of = [&](int j) {
    Staged x = PlaceStaged(memory + j * StagedBytes(width), j < m.top_k ? width : shared_width);
    if (*all_q4) x.f = nullptr;
    return x;
  };
  for (int j = threadIdx.x; j < n; j += kStepThreads) {
    d.matrix[j] = j < m.top_k ? ExpertMatrix(m.experts, s.shared.ids[j], ExpertPart::kDown) : s.l.glu.down;
    d.x[j] = x_of(j);
  }
  // A warp takes a group of any expert, so that one round trip to memory serves all of them.
  const int each = static_cast<int>(GroupsPerRow(width)), lane = threadIdx.x % kWarp;
  const int groups = m.top_k * each + static_cast<int>(GroupsPerRow(shared_width));
  for (int i = threadIdx.x / kWarp; i < groups; i += kStepWarps) {
    const int j = min(i / each, m.top_k), group = i - j * each, column = group * kGroup + lane;
    const float* activated = s.p.scratch.activated + j * width;
    StageGroup(x_of(j), group, column < (j < m.top_k ? width : shared_width) ? LoadShared(activated + column) : 0.0f);
  }
  return memory + m.top_k * StagedBytes(width) + StagedBytes(shared_width);
}

// x += sum_j weight_j Down_j a_j + the shared experts' answer. A block owns a run of rows; the sum of a row is made by one thread in
// the order of the choices.
__device__ inline void ExpertDown(const Step& s) {
  DownShared& d = *reinterpret_cast<DownShared*>(s.memory);
  int n_experts;
  bool all_q4;
  char* staged = s.memory + AlignUp(sizeof(DownShared), 16);
  float* part = reinterpret_cast<float*>(StageActivated(s, d, staged, &n_experts, &all_q4));
  __syncthreads();
  const int D = s.p.hidden, top_k = s.l.moe.top_k;
  const int begin = static_cast<int>(int64_t{D} * blockIdx.x / gridDim.x), end = static_cast<int>(int64_t{D} * (blockIdx.x + 1) / gridDim.x);
  const int at_once = max(1, kStepThreads / n_experts);  // rows whose parts fit
  for (int row = begin; row < end; row += at_once) {
    const int n_rows = min(at_once, end - row);
    DownRows({d.matrix, d.x, n_experts, row}, n_rows, all_q4, part);
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < n_rows) {
      const float* mine = part + threadIdx.x * n_experts;
      float sum = 0;
      for (int j = 0; j < top_k; ++j) sum = fmaf(s.shared.weights[j], mine[j], sum);
      if (n_experts > top_k) sum += mine[top_k];
      float* x = s.p.scratch.x + row + threadIdx.x;
      *x = LoadShared(x) + sum;
    }
    __syncthreads();
  }
}

__device__ inline void PrefetchDown(const Step& s) {
  const StepMoe& m = s.l.moe;
  for (int j = 0; j < m.top_k; ++j) Prefetch(ExpertMatrix(m.experts, s.shared.ids[j], ExpertPart::kDown));
  Prefetch(s.l.glu.down);
}

}  // namespace rill::cuda
