// kernels/cuda/decoder_step.cuh — what the phases of a fused decode step share. A phase is work that every block takes its own part
// of; between two phases lies a barrier across the grid. Vectors of the phase before come from the second-level cache
// (LoadShared), because other multiprocessors wrote them in this same launch.
#pragma once

#include "kernels/cuda/decoder_layout.h"
#include "kernels/cuda/job_queue.cuh"
#include "kernels/cuda/marked.cuh"

namespace rill::cuda {

inline constexpr int kMostRecords = 256;  // experts whose addresses are kept in shared memory
static_assert(kStepThreads == kWorkers);
inline constexpr int kLayersKept = 4;     // a power of two: the workers' layer, the one before it, and two that the feeders have come to

// A row of a plain matrix in bf16 that this block multiplies by the normed hidden vector, and where the product goes.
struct PlainRow {
  const Bf16* weight;  // null: none
  float* to;
};
enum PlainPlace { kPlainInputs, kPlainRouter, kPlainNone, kPlainPlaces };

// What the choice of experts finds in shared memory: addresses of the first experts' records, and their biases.
struct Records {
  const void* at[kMostRecords];
  float bias[kMostRecords];
};

// Shared memory that lives through the whole step; the rest of the block's shared memory belongs to the phase.
struct StepShared {
  StepParams params;
  StepLayer layer[kLayersKept];
  PlainRow plain[kLayersKept][kPlainPlaces][kMostPlainRows];  // of the same layers; by the feeders
  const void* page[kLayersKept][kShortContext / kPageTokens];  // of the same layers' caches, where attention is by heads; by the feeders
  JobQueue queue;
  Job next_inputs;                // the first job of the next layer; by the feeders
  uint64_t has_chosen;            // signal: the layer's experts are known
  uint64_t has_attended;          // signal: attention needs the slots' memory no more
  uint64_t has_mixed;             // signal: all blocks have taken what the layer's KDA needs
  unsigned barrier_target;        // GridBarrier::kThread's: arrivals that the next wait waits for
  int index;                      // of the layer, from the middle of its input phase on
  alignas(16) float scratch[kMaxWarps];
  int candidates;                 // for the choice of experts
  int ids[kMaxTopK];
  float weights[kMaxTopK];
  Records records[2];             // of this layer's experts and of the next one's; by the feeders
  const void* chosen[kMaxTopK];
  alignas(16) float partial[kStepThreads];
  alignas(16) char zeros[kZeroBytes];
};

constexpr size_t kPhaseAt = AlignUp(sizeof(StepShared), 128);  // the phase's memory, behind it

// A layer's step, as a phase sees it. Everything has a fixed place in the block's memory, so that this travels in one register: a struct
// that is passed by reference lives in local memory, and the local memory of 512 threads is more than the first-level cache holds.
struct Step {
  int index;  // of the layer

  __device__ __forceinline__ StepShared& shared() const { return *reinterpret_cast<StepShared*>(block_memory); }
  __device__ __forceinline__ const StepParams& p() const { return shared().params; }
  __device__ __forceinline__ const StepLayer& l() const { return shared().layer[index % kLayersKept]; }
  __device__ __forceinline__ PlainRow* plain(PlainPlace place) const { return shared().plain[index % kLayersKept][place]; }
  __device__ __forceinline__ Records& records() const { return shared().records[index % 2]; }
  __device__ __forceinline__ JobQueue& queue() const { return shared().queue; }
  __device__ __forceinline__ char* memory() const { return block_memory + kPhaseAt; }  // of the phase
  __device__ __forceinline__ uint32_t memory_at() const { return SharedAddress(block_memory) + static_cast<uint32_t>(kPhaseAt); }

  // The marks of this layer's use of what is written once a layer of its kind.
  __device__ __forceinline__ unsigned kda_mark() const { return (p().kda_uses + l().kda.use + 1) & 1; }
  __device__ __forceinline__ unsigned mla_mark() const { return (p().mla_uses + l().mla.use + 1) & 1; }
  __device__ __forceinline__ unsigned inputs_mark() const { return l().is_kda ? kda_mark() : mla_mark(); }
  __device__ __forceinline__ unsigned short_mark() const { return (p().short_uses + l().mla.use + 1) & 1; }  // of what is written in short contexts alone
  __device__ __forceinline__ unsigned router_mark() const { return (p().moe_uses + l().moe.use + 1) & 1; }

  // This warp's place among all warps of the grid, from the last warp of a block down: what few rows there are goes to warps
  // that have the least to do.
  __device__ int last_first() const { return (kStepWarps - 1 - ThreadId() / kWarp) * GridSize() + BlockId(); }
  __device__ int all_warps() const { return GridSize() * kStepWarps; }
};

// The step the block has come to. Read anew for each phase, and behind each job: kept in a register it would be saved in local memory around the call, and so
// would the addresses made of it.
__device__ __forceinline__ Step CurrentStep() { return {*static_cast<volatile int*>(&Step{0}.shared().index)}; }
// The next one is entered in its input phase: with a barrier of the workers in front, behind which nobody asks for the one before, and one behind.
__device__ __forceinline__ Step NextStep() { return {CurrentStep().index + 1}; }
__device__ __forceinline__ void EnterStep(Step s) {
  if (ThreadId() == 0) s.shared().index = s.index;
}

// This block's share of n things: [begin, end).
struct Share {
  int begin, end;
};
// CheckSpec() keeps n * blocks^2 below 2^40.
__device__ __forceinline__ Share ShareOf(const StepParams& p, int n) {
  const uint64_t first = static_cast<uint64_t>(n) * BlockId();
  return {static_cast<int>(first * p.per_block >> 40), static_cast<int>((first + n) * p.per_block >> 40)};
}

// The same in whole tiles: where they divide the matrices, no tile is ragged.
__device__ __forceinline__ Share ShareOfTiles(const StepParams& p, int n) {
  const Share tiles = ShareOf(p, TilesOf(n));
  return {min(n, tiles.begin * kTileRows), min(n, tiles.end * kTileRows)};
}

// Bytes of the one form that weights of format F meet.
template <WeightFormat F>
constexpr size_t FormBytes(int64_t K) { return IsQuantized(F) ? StagedQuantBytes(K) : StagedFloatBytes(K); }
template <WeightFormat F>
__device__ __forceinline__ Staged PlaceForm(char* to) {
  Staged x;
  if constexpr (IsQuantized(F)) x.q = to;
  else x.f = reinterpret_cast<float*>(to);
  return x;
}
// Where big matrices find the staged hidden vector. In float32 it lies at the start of the phase's memory in any case, for the plain
// matrices (router, low-rank gates); the integer form of q8 and q4 lies behind it.
template <WeightFormat F>
__device__ __forceinline__ uint32_t HiddenForm(Step s) { return s.memory_at() + (IsQuantized(F) ? StagedFloatBytes(s.p().hidden) : 0); }

// ---- products: jobs of the big matrices, in as many passes as the sums' memory asks for ---------------------------------

// What a phase multiplies is a struct Rows. Its object is the feeders', made from the step alone: `share` of which a pass takes `window`; kDeep, see
// FeedJob(); Build(s, job, first, n) makes the job of rows [first, first + n), by one feeder. Done<first>(s, job, before) is the workers': it uses the job's
// sums. `before` is what the phase has asked for ahead, for the first pass.

// The row behind the pass that begins with row `first`.
template <typename Rows>
__device__ __forceinline__ int EndOfPass(const Rows& rows, int first) { return first + max(0, min(rows.window, rows.share.end - first)); }

// Makes that pass's job. One warp.
template <typename Rows>
__device__ __forceinline__ void BuildPass(Step s, const Rows& rows, int first, Job& job) {
  const int end = EndOfPass(rows, first);
  Rows::Build(s, job, first, end - first);
  if (ThreadId() % kWarp == 0) job.row = first, job.rows = end - first, job.more = end < rows.share.end;
}
__device__ __forceinline__ void CopyJob(const Job& from, Job& to) {
  static_assert(sizeof(Tile) % 16 == 0 && offsetof(Job, tile) % 16 == 0);
  const int n = static_cast<int>((offsetof(Job, tile) + from.n_tiles * sizeof(Tile)) / 16);
#pragma unroll 1
  for (int i = ThreadId() % kWarp; i < n; i += kWarp) reinterpret_cast<uint4*>(&to)[i] = reinterpret_cast<const uint4*>(&from)[i];
  __syncwarp();
}

// The feeders' side of a phase; kMade: its first job has been made already.
template <WeightFormat F, typename Rows, bool kMade = false>
__device__ __forceinline__ void Feed(Step s, Feeder& f) {
  const Rows rows(s);
  int first = rows.share.begin;
#pragma unroll 1
  do {
    FeedJob<F>(s.queue(), f, Rows::kDeep, [&](Job& job) {
      if (kMade && first == rows.share.begin) CopyJob(s.shared().next_inputs, job);
      else BuildPass(s, rows, first, job);
    });
    first = EndOfPass(rows, first);
  } while (first < rows.share.end);
}

// The workers' side: a pass. Tells whether more come behind it.
template <WeightFormat F, typename Rows, bool kFirst>
__device__ __forceinline__ bool RunPass(Step s, float before) {
  const int n = AwaitJob(s.queue());
  RunJob<F>(SharedAddress(&s.queue()), n);
  s = CurrentStep();
  const Job& job = s.queue().job[n % kQueuedJobs];
  Rows::template Done<kFirst>(s, job, before);
  const bool more = job.more;
  EndJob(s.queue(), n);
  return more;
}
// Few phases have more than one: the others stand apart.
template <WeightFormat F, typename Rows>
__device__ __noinline__ void RunMorePasses(Step s) {
#pragma unroll 1
  do {
    SyncWorkers();
  } while (RunPass<F, Rows, false>(s, 0));
}
// Ends without a barrier behind Done().
template <WeightFormat F, typename Rows>
__device__ __forceinline__ void RunPasses(Step s, float before = 0) {
  if (RunPass<F, Rows, true>(s, before)) RunMorePasses<F, Rows>(s);
}

// Where the sums of a job's rows go: to `to` + their places, as they are, or marked, or added to what is there and marked.
struct SumsTo {
  float* to;
  bool marked, add;
  unsigned mark, mark_before;
  float before;  // what was there for this thread's first row
};
inline __device__ __noinline__ void WriteSums(uint32_t job_at, JobMemory memory, SumsTo dest) {
  const Job& job = SharedAt<const Job>(job_at);
  const int n = job.n_tiles * kTileRows;
#pragma unroll 1
  for (int i = ThreadId(); i < n; i += kStepThreads) {
    const int tile = i / kTileRows, row = i % kTileRows;
    float *at = dest.to + job.tile[tile].out + row, sum = RowSum<kMostUsualParts>(job, memory, tile, row);
    if (row > job.tile[tile].last) continue;
    if (dest.add) sum += i == ThreadId() ? dest.before : AwaitMarked(at, dest.mark_before);
    *at = dest.marked ? Marked(sum, dest.mark) : sum;
  }
}

// ---- output projections: x += W y for a staged y -----------------------------------------------------------------------

enum class Answer { kMixer, kDense, kShared };  // of the mixer, of a dense block, of shared experts that are not as wide as the others

template <WeightFormat F, Answer answer>
struct OutputRows {
  static constexpr bool kDeep = false;
  Share share;
  int window;

  __device__ __forceinline__ explicit OutputRows(Step s)
      : share(ShareOf(s.p(), s.p().hidden)), window(answer == Answer::kMixer ? s.l().window.output : s.l().window.down) {}
  __device__ __forceinline__ static const MatrixView& Matrix(Step s) { return answer == Answer::kMixer ? s.l().o : s.l().glu.down; }
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    const MatrixView& m = Matrix(s);
    BuildJob(job, TilesOf(n), static_cast<int>(m.cols), [&](int i) { return TileOf<F>(m, first, n, i, s.memory_at(), first); });
  }
  // The stream's mark before and behind this answer; shared experts answer behind the others.
  __device__ __forceinline__ static unsigned MarkBefore(Step s) { return s.l().x_mark ^ (answer != Answer::kDense); }
  __device__ __forceinline__ static unsigned MarkBehind(Step s) { return s.l().x_mark ^ (answer != Answer::kMixer); }
  // Of this thread's row of the pass of rows [first, end). Other blocks' rows may have the next mark already.
  __device__ __forceinline__ static float Before(Step s, int first, int end) {
    return first + ThreadId() < end ? AwaitMarked(s.p().scratch.x + first + ThreadId(), MarkBefore(s)) : 0.0f;
  }
  __device__ __forceinline__ static float Ask(Step s) {
    const Share share = ShareOf(s.p(), s.p().hidden);
    return Before(s, share.begin, share.end);
  }
  template <bool kFirst>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float before) {
    if (!kFirst) before = Before(s, job.row, job.row + job.rows);
    WriteSums(SharedAddress(&job), s.queue().memory, {s.p().scratch.x, true, true, MarkBehind(s), MarkBefore(s), before});
  }
};

// ---- plain rows: the router, the low-rank gates and beta, bf16 or float32, a row a warp ----------------------------------------

// Row `row` of a plain matrix times x, whole, in every lane.
inline __device__ __noinline__ float PlainDot(const MatrixView& m, int row, uint32_t x) {
  const Staged staged = {&SharedAt<float>(x)};
  const int lane = ThreadId() % kWarp;
  return LaneSum(m.format == WeightFormat::kBf16 ? DotBf16<kWarp>(m, row, staged, lane) : DotF32<kWarp>(m, row, staged, lane));
}

// ---- the hidden vector -----------------------------------------------------------------------------------------------

// Floats first .. first + 3 of K, zeros behind them; kFresh: another block wrote them in this launch.
template <bool kFresh>
__device__ __noinline__ float4 LoadSomeOfFour(const float* from, int first, int K) {
  const auto at = [&](int i) { return first + i < K ? (kFresh ? LoadShared(from + first + i) : __ldg(from + first + i)) : 0.0f; };
  return make_float4(at(0), at(1), at(2), at(3));
}
// The i-th eight of K floats, zeros behind them.
template <bool kFresh>
__device__ __forceinline__ Eight LoadEight(const float* from, int i, int K) {
  if (K % 8 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) return {LoadSomeOfFour<kFresh>(from, 8 * i, K), LoadSomeOfFour<kFresh>(from, 8 * i + 4, K)};
  if (8 * i >= K) return {make_float4(0, 0, 0, 0), make_float4(0, 0, 0, 0)};
  const float4* at = reinterpret_cast<const float4*>(from) + 2 * i;
  return kFresh ? Eight{__ldcg(at), __ldcg(at + 1)} : Eight{__ldg(at), __ldg(at + 1)};
}

__device__ __forceinline__ float AddSquares(float4 v, float sum) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum)))); }
__device__ __forceinline__ float AddSquares(const Eight& v, float sum) { return AddSquares(v.b, AddSquares(v.a, sum)); }
__device__ __forceinline__ float4 Times(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
__device__ __forceinline__ float4 Times(float4 a, float b) { return make_float4(a.x * b, a.y * b, a.z * b, a.w * b); }
template <typename B>
__device__ __forceinline__ Eight Times(const Eight& a, const B& b) {
  if constexpr (sizeof(B) == sizeof(float)) return {Times(a.a, b), Times(a.b, b)};
  else return {Times(a.a, b.a), Times(a.b, b.b)};
}
__device__ __forceinline__ float4 Plus(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ __forceinline__ float AddDot(uint4 bf16, const Eight& v, float sum) { return sum + Bf16Pairs(bf16, v.a, v.b); }

// The i-th eight of a vector of `padded` values, whole groups, staged at `to` in the form of F. A whole warp.
template <WeightFormat F>
__device__ __forceinline__ void StageEight(char* to, const Eight& value, int i, int padded) {
  const bool inside = 8 * i < padded;
  if constexpr (IsQuantized(F)) {
    const EightForm form(value);
    if (inside) form.Put(to + i / 4 * kStagedGroupBytes);
  } else if (inside) {
    reinterpret_cast<float4*>(to)[2 * i] = value.a, reinterpret_cast<float4*>(to)[2 * i + 1] = value.b;
  }
}
// The same for the hidden vector, which plain matrices meet in float32: at the start of the phase's memory, with the form of F behind it.
template <WeightFormat F>
__device__ __forceinline__ void StageHidden(const Eight& value, int i, int padded) {
  char* memory = block_memory + kPhaseAt;
  StageEight<WeightFormat::kF32>(memory, value, i, padded);
  if constexpr (IsQuantized(F)) StageEight<F>(memory + padded * sizeof(float), value, i, padded);
}

// The first layer's input is a row of the embedding. Every block brings the whole row to the start of the phase's memory, and its own rows to the
// residual stream; all of it there by all blocks would take longer than a layer's inputs.
template <WeightFormat F>
__device__ __forceinline__ void EmbedAs(Step s) {
  constexpr int kAtOnce = 5;  // of 2,304 values all, in one trip
  const Share share = ShareOf(s.p(), s.p().hidden);
  const int padded = (s.p().hidden + kGroup - 1) / kGroup * kGroup;
#pragma unroll 1
  for (int first = ThreadId(); first < padded; first += kAtOnce * kStepThreads) {
    float x[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = min(first + j * kStepThreads, s.p().hidden - 1);
      x[j] = WeightAtOf<F>(s.p().embedding, s.p().token, i);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * kStepThreads;
      if (i >= padded) break;
      reinterpret_cast<float*>(s.memory())[i] = i < s.p().hidden ? Unmarked(x[j]) : 0.0f;
      if (i >= share.begin && i < share.end) s.p().scratch.x[i] = Marked(x[j], s.l().x_mark ^ 1);
    }
  }
}
// Ends behind a barrier of the workers.
inline __device__ __noinline__ void Embed(Step s) {
  switch (s.p().embedding.format) {
    case WeightFormat::kF32: EmbedAs<WeightFormat::kF32>(s); break;
    case WeightFormat::kBf16: EmbedAs<WeightFormat::kBf16>(s); break;
    case WeightFormat::kQ8: EmbedAs<WeightFormat::kQ8>(s); break;
    case WeightFormat::kQ4: EmbedAs<WeightFormat::kQ4>(s); break;
  }
  SyncWorkers();
}

// The i-th eight of the residual stream, or of the embedding that Embed() has left; where it lies its thread alone stages.
__device__ __forceinline__ Eight StreamEight(int i, bool embedded, unsigned mark) {
  const StepParams& p = Step{0}.p();
  if (!embedded) return AwaitEight(p.scratch.x, i, p.hidden, mark);
  if (8 * i >= p.hidden) return {make_float4(0, 0, 0, 0), make_float4(0, 0, 0, 0)};
  const float4* at = reinterpret_cast<const float4*>(block_memory + kPhaseAt) + 2 * i;
  return {at[0], at[1]};
}

// What is behind the values that threads keep, of wide models: apart, so that the code is not in others' way.
inline __device__ __noinline__ float AddSquaresBeyond(float sum, bool embedded, unsigned mark) {
  const StepParams& p = Step{0}.p();
#pragma unroll 1
  for (int i = ThreadId() + kStepThreads; 8 * i < p.hidden; i += kStepThreads) sum = AddSquares(StreamEight(i, embedded, mark), sum);
  return sum;
}
template <WeightFormat F>
__device__ __noinline__ void StageBeyond(const float* w, float inverse, int padded, bool embedded, unsigned mark) {
  const StepParams& p = Step{0}.p();
#pragma unroll 1
  for (int i = ThreadId() + kStepThreads; 8 * (i - i % kWarp) < padded; i += kStepThreads) {
    StageHidden<F>(Times(Times(StreamEight(i, embedded, mark), LoadEight<false>(w, i, p.hidden)), inverse), i, padded);
  }
}

// RMSNorm of the residual stream, eight values a thread, staged at the start of the phase's memory. The block's plain rows are multiplied on the way:
// with each value comes its weight, and the root is a factor of the sums, so that their products are known before anything is staged. The norm's weights
// and the rows are asked for before the wait for the phase before. One copy of the code for all phases: `embedded`, the stream is what Embed() left;
// `x_mark`, the stream's; `row_mark`, that of the products. Ends behind a barrier of the workers.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void StageNormed(Step s, const float* w, uint32_t rows_at, bool embedded, unsigned x_mark, unsigned row_mark) {
  const PlainRow* rows = &SharedAt<const PlainRow>(rows_at);
  const int i = ThreadId(), K = s.p().hidden, padded = (K + kGroup - 1) / kGroup * kGroup;
  // A warp without values leaves the work to the others, whose time it would take. Barriers are common: synccheck takes two in two branches for threads that
  // never meet.
  const bool has_values = 8 * (i - i % kWarp) < padded;
  Eight weight = {}, value = {};
  uint4 row[kMostPlainRows] = {};
  if (has_values) {
    weight = LoadEight<false>(w, i, K);
#pragma unroll
    for (int j = 0; j < kMostPlainRows; ++j) row[j] = LoadWeights(rows[j].weight + 8 * i, rows[j].weight != nullptr && 8 * i < K);
  }
  if (!embedded) Barrier::Wait(s);
  if (has_values) {
    value = StreamEight(i, embedded, x_mark);
    float sums[1 + kMostPlainRows] = {AddSquares(value, 0)};
    value = Times(value, weight);
#pragma unroll
    for (int j = 0; j < kMostPlainRows; ++j) sums[1 + j] = AddDot(row[j], value, 0);
    if (K > kKeptValues) sums[0] = AddSquaresBeyond(sums[0], embedded, x_mark);
    LeaveSums(sums, s.shared().partial);
  } else {
    LeaveNoSums(s.shared().partial);
  }
  SyncWorkers();
  if (has_values) {
    const float mine = TakeSum(s.shared().partial);
    const float inverse = rsqrtf(__shfl_sync(0xffffffffu, mine, 0) / static_cast<float>(K) + s.p().norm_eps);
    if (i > 0 && i <= kMostPlainRows && rows[i - 1].weight != nullptr) *rows[i - 1].to = Marked(mine * inverse, row_mark);
    StageHidden<F>(Times(value, inverse), i, padded);
    if (padded > kKeptValues) StageBeyond<F>(w, inverse, padded, embedded, x_mark);
  }
  SyncWorkers();
}

// The sum of `shares` vectors of K floats that lie end to end in device memory, staged in the form of F. Ends without a barrier.
template <WeightFormat F>
__device__ __noinline__ void StageShares(uint32_t at, const float* from, int K, int shares) {
  const int padded = (K + kGroup - 1) / kGroup * kGroup;
#pragma unroll 1
  for (int i = ThreadId(); 8 * (i - i % kWarp) < padded; i += kStepThreads) {
    Eight sum = LoadEight<true>(from, i, K);
#pragma unroll 1
    for (int share = 1; share < shares; ++share) {
      const Eight more = LoadEight<true>(from + share * K, i, K);
      sum = {Plus(sum.a, more.a), Plus(sum.b, more.b)};
    }
    StageEight<F>(&SharedAt<char>(at), sum, i, padded);
  }
}

// ---- asking ahead ----------------------------------------------------------------------------------------------------

// Asks for n bytes, a multiple of 16, from DRAM into the second-level cache.
__device__ __forceinline__ void PrefetchPiece(const char* data, int n) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(data), "r"(n));
#else
#pragma unroll 1
  for (int i = 0; i < n; i += 128) asm volatile("prefetch.global.L2 [%0];" ::"l"(data + i));
#endif
}

// A feeder warp asks for its share of each piece, a lane a piece.
template <int kPieces>
__device__ __forceinline__ void PrefetchAhead(const Ahead (&ahead)[kPieces], const Feeder& f) {
  const int lane = ThreadId() % kWarp;
  if (lane >= kPieces) return;
  const Ahead& a = ahead[lane];
  const int64_t first = static_cast<int64_t>(a.each) * (f.warp * GridSize() + BlockId());
  if (first < a.bytes) PrefetchPiece(a.data + first, static_cast<int>(min(static_cast<int64_t>(a.each), a.bytes - first)));
}

}  // namespace rill::cuda
