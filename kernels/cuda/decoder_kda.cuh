// kernels/cuda/decoder_kda.cuh — the KDA mixer within a fused decode step: convolution, gates, recurrence and gated norm of a slice of
// a head by one block, the state read once and written once.
#pragma once

#include "kernels/cuda/decoder_kda_slice.cuh"

namespace rill::cuda {

struct StepKdaShared {
  KdaShared<kStepSlice> token;
  float squares[2][kMaxHeadDim / kWarp];  // of q and k, by warp
  float g[kMaxHeadDim];
  float gate[kStepSlice];
};

// The usual head: 128 channels, four taps, bf16 gates of rank 128. Its phase is compiled with these numbers, without branches or loops over
// what it does not have: what a step must jump over it waits for.
template <int kRows>
struct KdaSizes {
  static constexpr bool kUsual = kRows == kUsualRows;
  __device__ __forceinline__ static int K(const StepKda& k) { return kUsual ? kUsualK : k.K; }
  __device__ __forceinline__ static int W(const StepKda& k) { return kUsual ? kUsualTaps : k.W; }
  __device__ __forceinline__ static int Rank(const StepKda& k) { return kUsual ? kUsualRank : k.rank; }
};

// Convolution and SiLU of one channel of q (which = 0), k or v; the tail itself moves on in the next phase, because the blocks of a
// head's other slices read it too. Taps and tail come before the barrier, the new input behind it.
template <int kRows>
struct ConvItem {
  using Sizes = KdaSizes<kRows>;
  static constexpr int kTaps = 4;  // more are loaded when they are needed
  float weight[kTaps], tail[kTaps - 1];
  int which, channel, d;

  // Item i of a slice: q and k of every key channel of the head, then v of the slice.
  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice, int i) {
    const int K = Sizes::K(k), W = Sizes::W(k);
    which = i < K ? 0 : i < 2 * K ? 1 : 2;
    d = i < K ? i : i < 2 * K ? i - K : slice * kStepSlice + i - 2 * K;
    channel = h * K + d;
    const float* w = k.conv[which] + channel * W;
    const float* t = k.tail + (static_cast<int64_t>(which) * k.C + channel) * (W - 1);
    if (W == kTaps) {
      const float4 all = __ldg(reinterpret_cast<const float4*>(w));
      weight[0] = all.x, weight[1] = all.y, weight[2] = all.z, weight[3] = all.w;
#pragma unroll
      for (int j = 0; j < kTaps - 1; ++j) tail[j] = LoadShared(t + j);
      return;
    }
    const int skip = kTaps - W;  // zeros in front: the current token's tap is always the last one
#pragma unroll
    for (int j = 0; j < kTaps; ++j) weight[j] = j >= skip ? __ldg(w + j - skip) : 0.0f;
#pragma unroll
    for (int j = 0; j < kTaps - 1; ++j) tail[j] = j >= skip ? LoadShared(t + j - skip) : 0.0f;
  }
  // The same of a usual head, from the slots.
  __device__ __forceinline__ void Take(const SliceTaps& taps, const SliceTail& tails, int h, int slice, int i) {
    which = i / kUsualK, d = which == 2 ? slice * kStepSlice + i - 2 * kUsualK : i - which * kUsualK;
    channel = h * kUsualK + d;
    const float4 all = taps.taps[i];
    weight[0] = all.x, weight[1] = all.y, weight[2] = all.z, weight[3] = all.w;
#pragma unroll
    for (int j = 0; j < kTaps - 1; ++j) tail[j] = tails.tail[i][j];
  }
  __device__ __forceinline__ float Result(const StepKda& k, float x) const {
    float y = 0;
    if (Sizes::W(k) <= kTaps) {
#pragma unroll
      for (int j = 0; j < kTaps - 1; ++j) y = __fadd_rn(y, __fmul_rn(weight[j], tail[j]));
      return Silu(__fadd_rn(y, __fmul_rn(weight[kTaps - 1], x)));
    }
    const float* w = k.conv[which] + channel * k.W;
    const float* t = k.tail + (static_cast<int64_t>(which) * k.C + channel) * (k.W - 1);
    for (int j = 0; j < k.W - 1; ++j) y = __fadd_rn(y, __fmul_rn(w[j], LoadShared(t + j)));
    return Silu(__fadd_rn(y, __fmul_rn(w[k.W - 1], x)));
  }
  // A warp's items have one `which`, as K is a multiple of 32.
  __device__ __forceinline__ void Put(StepKdaShared& x, int slice, float y) const {
    if (which < 2) {
      const float squares = LaneSum(y * y);
      if (ThreadId() % kWarp == 0) x.squares[which][d / kWarp] = squares;
    }
    if (which == 0) x.token.q[d] = y;
    else if (which == 1) x.token.k[d] = y;
    else x.token.v[d - slice * kStepSlice] = y;
  }
};

// The low-rank gates' second halves of a slice of a usual head: 32 rows at a time, 16 lanes each.
inline constexpr int kGatePasses = kUsualK / (kStepThreads / kLanes);  // over the key channels

struct GateRows {
  uint4 f[kGatePasses], g;

  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice) {
    const int lane_row = ThreadId() / kLanes, at = ThreadId() % kLanes * 8, first = h * kUsualK + lane_row;
    const Bf16* f_b = static_cast<const Bf16*>(k.f_b.values) + first * kUsualRank + at;
#pragma unroll
    for (int i = 0; i < kGatePasses; ++i) f[i] = LoadWeights(f_b + i * (kStepThreads / kLanes) * kUsualRank);
    g = LoadWeights(static_cast<const Bf16*>(k.g_b.values) + (first + slice * kStepSlice) * kUsualRank + at);
  }
  // From the slots: two units a pass.
  __device__ __forceinline__ void Take(const JobQueue& q, int job) {
    const int unit = kGateUnit + ThreadId() / (kTileRows * kLanes), at = ThreadId() / kLanes % kTileRows * (kGateRowBytes / 16) + ThreadId() % kLanes;
#pragma unroll
    for (int i = 0; i < kGatePasses; ++i) f[i] = (&SlicePart<uint4>(q, job, unit + 2 * i))[at];
    g = (&SlicePart<uint4>(q, job, unit + kUsualRows))[at];
  }
};

// The gates' arguments without their bias: of every key channel of the head into x.g, of the slice's value channels into x.gate; 32 rows at a time, 16 lanes
// each.
__device__ __forceinline__ void GateHead(const GateRows& rows, const Staged& f, const Staged& g, StepKdaShared& x) {
  const int lane_row = ThreadId() / kLanes, sub = ThreadId() % kLanes;
  const float4 *f_at = reinterpret_cast<const float4*>(f.f) + 2 * sub, *g_at = reinterpret_cast<const float4*>(g.f) + 2 * sub;
  const float4 f0 = f_at[0], f1 = f_at[1], g0 = g_at[0], g1 = g_at[1];
  float sums[kGatePasses + 1];
#pragma unroll
  for (int i = 0; i < kGatePasses; ++i) sums[i] = Bf16Pairs(rows.f[i], f0, f1);
  sums[kGatePasses] = Bf16Pairs(rows.g, g0, g1);
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (float& sum : sums) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  }
  if (sub == 0) {
#pragma unroll
    for (int i = 0; i < kGatePasses; ++i) x.g[i * (kStepThreads / kLanes) + lane_row] = sums[i];
    x.gate[lane_row] = sums[kGatePasses];
  }
}

// The same for any rank, and for float32, from device memory.
inline __device__ __noinline__ void GateHeadPlain(const StepKda& k, int h, int slice, Staged f, Staged g, StepKdaShared& x) {
  const int lane_row = ThreadId() / kLanes, sub = ThreadId() % kLanes;
  const auto dot = [&](const MatrixView& m, int row, const Staged& y) {
    return LaneSum<kLanes>(m.format == WeightFormat::kBf16 ? DotBf16<kLanes>(m, row, y, sub) : DotF32<kLanes>(m, row, y, sub));
  };
  for (int base = 0; base < k.K; base += kStepThreads / kLanes) {
    const int d = base + lane_row, row = h * k.K + min(d, k.K - 1);
    const float y = dot(k.f_b, row, f);
    if (d < k.K && sub == 0) x.g[d] = y;
  }
  const float y = dot(k.g_b, h * k.K + slice * kStepSlice + lane_row, g);
  if (sub == 0) x.gate[lane_row] = y;
}

// One warp: q . k, as the convolution left them.
__device__ __forceinline__ void DotHead(int K, StepKdaShared& x) {
  float qk = 0;
#pragma unroll 4
  for (int i = ThreadId() % kWarp; i < K; i += kWarp) qk = fmaf(x.token.q[i], x.token.k[i], qk);
  qk = LaneSum(qk);
  if (ThreadId() % kWarp == 0) x.token.qk = qk;
}

// 1 / length of q (which = 0) or k.
__device__ __forceinline__ float InverseLength(int K, const StepKdaShared& x, int which) {
  float sum = 0;
#pragma unroll 4
  for (int i = 0; i < K / kWarp; ++i) sum += x.squares[which][i];
  return rsqrtf(sum + 1e-6f);
}

// From the arguments to the log decay, the decay and the output gate, and q and k to unit length: one thread a channel.
template <int kRows>
__device__ __forceinline__ void ActivateGates(const StepKda& k, float rate, float bias, StepKdaShared& x) {
  const int d = ThreadId(), K = KdaSizes<kRows>::K(k);  // there are more threads than channels
  if (d < K) {
    const float g = rate * Softplus(x.g[d] + bias);
    x.g[d] = g;
    x.token.decay[d] = expf(g);
    const float q = InverseLength(K, x, 0), key = InverseLength(K, x, 1);
    x.token.q[d] *= q;
    x.token.k[d] *= key;
    if (d == 0) x.token.qk *= q * key;
  } else if (d < K + kStepSlice) {
    x.gate[d - K] = Sigmoid(x.gate[d - K]);
  }
}

// Where the ring has this token; both numbers are below 2^31.
__device__ __forceinline__ int RingSlot(Step s) { return static_cast<unsigned>(s.p().position) % static_cast<unsigned>(s.l().kda.ring_tokens); }

__device__ inline void RecordToken(Step s, int h, int slice, const StepKdaShared& x) {
  const StepKda& k = s.l().kda;
  const int64_t slot = static_cast<int64_t>(RingSlot(s)) * k.H + h;
  if (ThreadId() < kStepSlice) k.ring_u[slot * k.K + slice * kStepSlice + ThreadId()] = x.token.u[ThreadId()];
  if (slice != 0) return;
#pragma unroll 1
  for (int i = ThreadId(); i < k.K; i += kStepThreads) {
    k.ring_k[slot * k.K + i] = x.token.k[i];
    k.ring_g[slot * k.K + i] = x.g[i];
  }
}

// What a slice needs that no other block makes in this step, in registers.
template <WeightFormat F, int kRows>
struct KdaLoads {
  static constexpr bool kUsual = KdaSizes<kRows>::kUsual, kBySlots = kUsual && F == WeightFormat::kQ4;
  KdaTile<kStepSlice, kRows> tile;
  GateRows rows;
  ConvItem<kRows> item;
  float o_norm, a_log, bias;

  __device__ __forceinline__ void Load(const StepKda& k, int h, int slice) {
    const int K = KdaSizes<kRows>::K(k);
    tile.Place(K, slice);
    item.Load(k, h, slice, min(ThreadId(), 2 * K + kStepSlice - 1));
    tile.Load(k.state + static_cast<int64_t>(h) * K * K, K);
    if constexpr (kUsual) rows.Load(k, h, slice);
    o_norm = __ldg(k.o_norm + slice * kStepSlice + ThreadId() % kStepSlice);
    a_log = __ldg(k.a_log + h);
    bias = __ldg(k.dt_bias + h * K + min(ThreadId(), K - 1));
  }
  // From the slots, job `job`: all but the state, then the state.
  __device__ __forceinline__ void Take(const JobQueue& q, int job, int h, int slice) {
    const SliceTail& tail = SlicePart<SliceTail>(q, job, kTailUnit);
    item.Take(SlicePart<SliceTaps>(q, job, kTapsUnit), tail, h, slice, min(ThreadId(), kUsualItems - 1));
    o_norm = tail.o_norm[ThreadId() % kStepSlice], a_log = tail.a_log[h % 4], bias = tail.dt_bias[min(ThreadId(), kUsualK - 1)];
    rows.Take(q, job);
  }
  __device__ __forceinline__ void TakeState(const JobQueue& q, int job, int slice) {
    tile.Place(kUsualK, slice);
    static_assert(kStateRows % kUsualRows == 0, "a thread's rows are in one unit");
    const float* from = &SlicePart<float>(q, job, kStateUnit + tile.first_row / kStateRows) + tile.first_row % kStateRows * kStepSlice + ThreadId() % kStepSlice;
#pragma unroll
    for (int j = 0; j < kUsualRows; ++j) tile.s[j] = from[j * kStepSlice];
  }
};

// Convolution to gated norm for one slice of one head; the state is read once, and written once by LeaveSlice(). What is missing of the
// norm is the head's root, which needs all slices: each leaves its sum of squares, and the output phase divides.
template <WeightFormat F, int kRows>
__device__ __forceinline__ void KdaSlice(Step s, int h, int slice, KdaLoads<F, kRows>& loads) {
  using Sizes = KdaSizes<kRows>;
  const StepKda& k = s.l().kda;
  const int K = Sizes::K(k), rank = Sizes::Rank(k), padded = (rank + kGroup - 1) / kGroup * kGroup;
  StepKdaShared& x = *reinterpret_cast<StepKdaShared*>(s.memory());
  char* staged = s.memory() + AlignUp(sizeof(StepKdaShared), 16);
  const Staged f = {reinterpret_cast<float*>(staged)}, g = {reinterpret_cast<float*>(staged) + padded};
  const float* projected = s.p().scratch.projected;
  const int* at = s.l().inputs.at;
  const int n_items = 2 * K + kStepSlice;
  constexpr bool kBySlots = KdaLoads<F, kRows>::kBySlots;
  int job = 0;
  if constexpr (kBySlots) loads.Take(s.queue(), job = AwaitJob(s.queue()), h, slice);
  const unsigned mark = s.kda_mark();
  const float* input_at = projected + at[loads.item.which] + loads.item.channel;
  float input, beta = 0;
  if constexpr (Sizes::kUsual) {  // the gates' 256 inputs go to the threads from the last one down: the first ones have a channel
    const int i = kStepThreads - 1 - ThreadId();
    const float* value_at = projected + (i < rank ? at[3] + i : at[4] + min(i - rank, rank - 1));
    const float* beta_at = ThreadId() == 0 ? projected + at[5] + h : value_at;
    float value;
    AwaitMarks([&] {  // all three in one trip
      input = LoadRelaxed(input_at), value = LoadRelaxed(value_at), beta = LoadRelaxed(beta_at);
      return Missing(input, mark) | Missing(value, mark) | Missing(beta, mark);
    });
    input = Unmarked(input), beta = Unmarked(beta);
    if (i < 2 * rank) f.f[i] = Unmarked(value);
  } else {
    input = AwaitMarked(input_at, mark);
    if (ThreadId() == 0) beta = AwaitMarked(projected + at[5] + h, mark);
#pragma unroll 1
    for (int i = ThreadId(); i < 2 * padded; i += kStepThreads) {
      const int j = i < padded ? i : i - padded;
      f.f[i] = j < rank ? AwaitMarked(projected + at[i < padded ? 3 : 4] + j, mark) : 0.0f;
    }
  }
  if (ThreadId() < n_items) loads.item.Put(x, slice, loads.item.Result(k, input));
  if constexpr (!Sizes::kUsual) {
#pragma unroll 1
    for (int i = ThreadId() + kStepThreads; i < n_items; i += kStepThreads) {
      ConvItem<kRows> item;
      item.Load(k, h, slice, i);
      item.Put(x, slice, item.Result(k, AwaitMarked(projected + at[item.which] + item.channel, mark)));
    }
  }
  if (ThreadId() == 0) x.token.beta = Sigmoid(beta);
  if constexpr (kBySlots) loads.TakeState(s.queue(), job, slice);
  SyncWorkers();
  if constexpr (kBySlots) GiveSliceBack(s.queue(), job);
  if constexpr (Sizes::kUsual) GateHead(loads.rows, f, g, x);
  else GateHeadPlain(k, h, slice, f, g, x);
  if (ThreadId() / kWarp == kStepWarps - 1) DotHead(K, x);
  SyncWorkers();
  ActivateGates<kRows>(k, -expf(loads.a_log), loads.bias, x);
  SyncWorkers();
  const float out = KdaToken(loads.tile, x.token, k.scale);
  if (ThreadId() < kStepSlice) {
    const int d = slice * kStepSlice + ThreadId();
    s.p().scratch.heads[h * K + d] = Marked(out * loads.o_norm * x.gate[ThreadId()], mark);
    const float squares = LaneSum(out * out);
    if (ThreadId() == 0) s.p().scratch.squares[h * (K / kStepSlice) + slice] = Marked(squares, mark);
  }
}

// What the step leaves behind and nobody waits for: the state, and the token in the ring. The caller puts a barrier of the workers behind it.
template <WeightFormat F, int kRows>
__device__ __forceinline__ void LeaveSlice(Step s, int h, int slice, const KdaLoads<F, kRows>& loads) {
  const StepKda& k = s.l().kda;
  const int K = KdaSizes<kRows>::K(k);
  loads.tile.Store(k.state + static_cast<int64_t>(h) * K * K, K);
  if (k.ring_k != nullptr) RecordToken(s, h, slice, *reinterpret_cast<const StepKdaShared*>(s.memory()));
}

// The convolutions' tails move on by this token's inputs. Neighbouring channels go to neighbouring threads: a tail is 12 bytes. By thread `thread` of
// `threads` of every block, at any time between the KDA phase and the next layer's inputs.
inline __device__ __noinline__ void AdvanceTails(Step s, int thread, int threads) {
  const StepKda& k = s.l().kda;
  const Share share = ShareOf(s.p(), 3 * k.C);
#pragma unroll 1
  for (int c = share.begin + thread; c < share.end; c += threads) {
    const int which = (c >= k.C) + (c >= 2 * k.C), channel = c - which * k.C;
    float* tail = k.tail + static_cast<int64_t>(c) * (k.W - 1);
    const float x = AwaitMarked(s.p().scratch.projected + s.l().inputs.at[which] + channel, s.kda_mark());
    if (k.W == 4) {
      const float second = LoadShared(tail + 1), third = LoadShared(tail + 2);
      tail[0] = second, tail[1] = third, tail[2] = x;
    } else {
#pragma unroll 1
      for (int j = 1; j < k.W - 1; ++j) tail[j - 1] = LoadShared(tail + j);
      tail[k.W - 2] = x;
    }
    if (k.conv_ring != nullptr) k.conv_ring[(which * k.ring_tokens + RingSlot(s)) * k.C + channel] = x;
  }
}

// The i-th eight of the heads' output, normed with the root of its head, from its slices' sums of squares.
__device__ __forceinline__ Eight NormedEight(const StepKda& k, const StepScratch& scratch, int i, unsigned mark) {
  static_assert(kUsualSlices == 4);
  Eight value;
  float4 some;
  float sum = 0;
  if (k.K == kUsualK) {
    const int at = min(i, k.C / 8 - 1);
    AwaitMarks([&] {  // all in one trip
      value = {LoadRelaxed4(scratch.heads + 8 * at), LoadRelaxed4(scratch.heads + 8 * at + 4)};
      some = LoadRelaxed4(scratch.squares + 8 * at / kUsualK * kUsualSlices);
      return Missing(value.a, mark) | Missing(value.b, mark) | Missing(some, mark);
    });
    value = {Unmarked(value.a), Unmarked(value.b)}, some = Unmarked(some);
    sum = some.x + some.y + some.z + some.w;
  } else {
    const int slices = k.K / kStepSlice, h = min(8 * i, k.C - 1) / k.K;
    value = AwaitEight(scratch.heads, i, k.C, mark);
#pragma unroll 1
    for (int j = 0; j < slices; ++j) sum += AwaitMarked(scratch.squares + h * slices + j, mark);
  }
  return Times(value, rsqrtf(__fdividef(sum, static_cast<float>(k.K)) + k.norm_eps));
}

// The output of the KDA heads, normed and staged. Ends behind a barrier of the workers.
template <WeightFormat F>
__device__ __forceinline__ void StageHeads(Step s) {
  const StepKda& k = s.l().kda;
  const unsigned mark = s.kda_mark();
#pragma unroll 1
  for (int i = ThreadId(); 8 * (i - i % kWarp) < k.C; i += kStepThreads) {
    StageEight<F>(s.memory(), NormedEight(k, s.p().scratch, i, mark), i, k.C);
  }
  SyncWorkers();
}

}  // namespace rill::cuda
