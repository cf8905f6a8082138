// kernels/cuda/decoder_walk.cuh — the phases of a layer, and the barrier between them.
//
// Every phase has the same shape: ask for what needs no activation (norms, states), wait for the phase before, stage the activations, compute, write,
// arrive. What is asked for before the wait hides the barrier, and so does what is left to do behind the arrival; the weights of q4 come by
// themselves (FeedStep). A phase is a function of its own that is not inlined: its registers are its own, and nothing of it is computed ahead of the
// loop over the layers.
#pragma once

#include <algorithm>

#include "kernels/cuda/decoder_feed.cuh"
#include "kernels/cuda/decoder_kda.cuh"
#include "kernels/cuda/decoder_mla_short.cuh"

namespace rill::cuda {

// Arrivals are counted for ever, in two counters on lines of their own, for even and odd blocks; comparing the difference of their sum survives the
// wrap. The workers' barriers carry the order to and from the threads, whose release and acquire carry it across the grid. They are in the last
// warp, which has the least to do while the release waits for the block's stores.
struct GridBarrier {
  static constexpr int kThread = kStepThreads - kWarp, kCounters = 2, kApart = 32;

  __device__ __forceinline__ static void Arrive(Step s) {
    SyncWorkers();
    if (ThreadId() == kThread) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(Mine(s)) : "memory");
  }
  // Behind marked values, which tell for themselves that they are there: without the release, which waits until all stores are.
  __device__ __forceinline__ static void ArriveMarked(Step s) {
    SyncWorkers();
    if (ThreadId() == kThread) asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(Mine(s)) : "memory");
  }
  __device__ __forceinline__ static void Wait(Step s) {
    if (ThreadId() >= kThread) {
      const int lane = ThreadId() - kThread;
      const unsigned* arrivals = s.p().barrier + lane % kCounters * kApart;
      const unsigned target = s.shared().barrier_target + GridSize();
      unsigned seen;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrivals) : "memory");
        seen += __shfl_xor_sync(0xffffffffu, seen, 1);
      } while (static_cast<int>(seen - target) < 0);
      __syncwarp();  // all lanes have read it
      if (lane == 0) s.shared().barrier_target = target;
    }
    SyncWorkers();
  }

 private:
  __device__ __forceinline__ static unsigned* Mine(Step s) { return s.p().barrier + BlockId() % kCounters * kApart; }
};

// By threads 0 .. threads - 1 of those that load.
__device__ inline void LoadLayer(const StepLayer* from, StepLayer* to, int thread, int threads) {
  static_assert(sizeof(StepLayer) % 16 == 0);
#pragma unroll 1
  for (unsigned i = thread; i < sizeof(StepLayer) / 16; i += threads) {
    reinterpret_cast<uint4*>(to)[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
  }
}
// The kernel's parameters, the first layer, the zeros of the products and the jobs' signals come to shared memory. The whole block; ends behind a
// barrier.
__device__ inline void BeginStep(const StepParams& from) {
  StepShared& shared = Step{0}.shared();
  static_assert(sizeof(StepParams) % 8 == 0);
  if (IsFeeder()) {
    const uint32_t base = SharedAddress(block_memory);
    BeginQueue(shared.queue, {base + from.sums_at, base + from.slots_at, SharedAddress(shared.zeros), static_cast<unsigned>(from.slots)});
    if (ThreadId() == kWorkers) SetSignal(shared.has_chosen, kWarp), SetSignal(shared.has_attended, kWorkers), SetSignal(shared.has_mixed, 1);
  } else {
    for (unsigned i = ThreadId(); i < sizeof(StepParams) / 8; i += kStepThreads) {
      reinterpret_cast<uint64_t*>(&shared.params)[i] = reinterpret_cast<const uint64_t*>(&from)[i];
    }
    for (int i = 0; i < min(2, from.n_layers); ++i) LoadLayer(from.layers + i, &shared.layer[i], ThreadId(), kStepThreads);
    ClearZeros(shared.zeros);
    if (ThreadId() == 0) shared.index = -1, shared.barrier_target = from.barrier_base;
  }
  __syncthreads();  // one for all: synccheck takes two in two branches for threads that never meet
}

// ---- input projections -----------------------------------------------------------------------------------------------

template <WeightFormat F>
struct InputRows {
  static constexpr bool kDeep = false;
  Share share;
  int window;

  __device__ __forceinline__ explicit InputRows(Step s) : share(ShareOfTiles(s.p(), s.l().inputs.big_rows())), window(s.l().window.inputs) {}
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    const StepInputs& in = s.l().inputs;
    BuildEndToEnd<F>(job, in.weight + in.plain, in.end + in.plain, in.count - in.plain, s.p().hidden, HiddenForm<F>(s), first, n,
                     [&](int i, int begin) { return in.offset[in.plain + i] + begin; });
  }
  template <bool>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float) {
    WriteSums(SharedAddress(&job), s.queue().memory, {s.p().scratch.projected, true, false, s.inputs_mark(), 0, 0});
  }
};

// The plain matrix that holds plain row `row`, and its first row's number.
__device__ __forceinline__ int FindPlain(const StepInputs& in, int row, int* begin) {
  int i = 0;
#pragma unroll 1
  while (row >= in.end[i]) ++i;
  *begin = i == 0 ? 0 : in.end[i - 1];
  return i;
}
// The plain inputs of many rows a block, or of other formats and sizes: a row a warp, from the staged vector.
inline __device__ __noinline__ void MultiplyPlainInputs(Step s) {
  const StepInputs& in = s.l().inputs;
#pragma unroll 1
  for (int row = s.last_first(); row < in.plain_rows(); row += s.all_warps()) {
    int begin;
    const int i = FindPlain(in, row, &begin);
    const float y = PlainDot(in.weight[i], row - begin, s.memory_at());
    if (ThreadId() % kWarp == 0) s.p().scratch.projected[in.offset[i] + row - begin] = Marked(y, s.kda_mark());
  }
}

// This block's plain rows of a layer, found ahead by a feeder warp.
__device__ __forceinline__ void FindPlainRows(Step s) {
  const int lane = ThreadId() % kWarp, place = lane / kMostPlainRows, row = BlockId() + lane % kMostPlainRows * GridSize();
  if (place >= kPlainPlaces) return;
  const StepInputs& in = s.l().inputs;
  const StepMoe& m = s.l().moe;
  PlainRow found = {};
  if (place == kPlainInputs && in.with_norm && row < in.plain_rows()) {
    int begin;
    const int i = FindPlain(in, row, &begin);
    found = {static_cast<const Bf16*>(in.weight[i].values) + (row - begin) * in.weight[i].cols, s.p().scratch.projected + in.offset[i] + row - begin};
  } else if (place == kPlainRouter && m.with_norm && row < m.router.rows) {
    found = {static_cast<const Bf16*>(m.router.values) + row * m.router.cols, s.p().scratch.logits + row};
  }
  s.plain(static_cast<PlainPlace>(place))[lane % kMostPlainRows] = found;
}

template <WeightFormat F, typename Barrier>
__device__ __noinline__ void InputPhase(Step s) {
  AwaitJob(s.queue());  // with it come the layer and its plain rows
  if (s.index == 0) Embed(s);
  StageNormed<F, Barrier>(s, s.l().input_norm, SharedAddress(s.plain(kPlainInputs)), s.index == 0, s.l().x_mark ^ 1, s.kda_mark());
  EnterStep(s);
  if (!s.l().inputs.with_norm) MultiplyPlainInputs(s);
  RunPasses<F, InputRows<F>>(s);
}

// ---- mixers: from the projected inputs to the residual stream --------------------------------------------------------------

// Slice `unit` of `units`, if there is one; with a block's last one it arrives.
template <WeightFormat F, int kRows, typename Barrier>
__device__ __forceinline__ void RunSlice(Step s, int unit, int units) {
  const int slices = KdaSizes<kRows>::K(s.l().kda) / kStepSlice;
  KdaLoads<F, kRows> loads;
  if constexpr (!loads.kBySlots) loads.Load(s.l().kda, min(unit, units - 1) / slices, min(unit, units - 1) % slices);
  if (unit < units) KdaSlice(s, unit / slices, unit % slices, loads);
  if (unit + GridSize() >= units) Barrier::ArriveMarked(s);
  if (unit < units) LeaveSlice(s, unit / slices, unit % slices, loads);
}
template <int kRows>
__device__ __forceinline__ int CountSlices(Step s) { return KdaSizes<kRows>::K(s.l().kda) / kStepSlice * s.l().kda.H; }

// A block has more than one slice where there are fewer blocks than slices.
template <WeightFormat F, int kRows, typename Barrier>
__device__ __noinline__ void RunMoreSlices(Step s) {
#pragma unroll 1
  for (int unit = BlockId() + GridSize(); unit < CountSlices<kRows>(s); unit += GridSize()) {
    SyncWorkers();
    RunSlice<F, kRows, Barrier>(s, unit, CountSlices<kRows>(s));
  }
}
template <WeightFormat F, int kRows, typename Barrier>
__device__ __noinline__ void KdaPhase(Step s) {
  RunSlice<F, kRows, Barrier>(s, BlockId(), CountSlices<kRows>(s));
  if (BlockId() + GridSize() < CountSlices<kRows>(s)) RunMoreSlices<F, kRows, Barrier>(s);
}

// The inputs are marked, and a block needs few of them.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void MlaAbsorbPhase(Step s) {
#pragma unroll 1
  for (int i = BlockId(); i <= CountAbsorbUnits(s); i += GridSize()) {
    if (i == CountAbsorbUnits(s)) {
      MlaAppend(s, [](int, float) {});
      break;
    }
    const AbsorbUnit<F> unit(s, i);
    unit.Run(s, [&](int c, float x) { PutQuery(TaskOf(s), s.p().scratch.absorbed, unit.h, c, x); });
  }
  Barrier::Arrive(s);
}
template <typename Tiles, typename Barrier>
__device__ __forceinline__ void AttendByTiles(Step s) {
  Tiles& x = *reinterpret_cast<Tiles*>(s.memory());
#pragma unroll 1
  for (int unit = BlockId();; unit += GridSize()) {
    if (ThreadId() == kStepThreads - 1) PlanTiles(s, x, unit);
    SyncWorkers();
    AskTiles(x);
    if (unit == BlockId()) Barrier::Wait(s);
    if (x.plan.first == x.plan.end) break;
    AttendTiles(x);
    const bool last = x.plan.last;
    if (ThreadId() == kStepThreads - 1) EndSignals(x);
    if (last) break;
    SyncWorkers();
  }
  Barrier::Arrive(s);
}
template <typename Barrier>
__device__ __noinline__ void MlaAttendPhase(Step s) {
  if (TaskOf(s).tiles) return AttendByTiles<TileShared, Barrier>(s);
  Barrier::Wait(s);
  MlaAttendPlain(s);
  Barrier::Arrive(s);
}
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void MlaExpandPhase(Step s) {
#pragma unroll 1
  for (int i = BlockId();; i += GridSize()) {
    ExpandUnit<F> unit;
    unit.Load(s, i);
    if (i == BlockId()) Barrier::Wait(s);
    const int units = CountExpandUnits(s);
    if (i < units) unit.Run(s);
    if (i + GridSize() >= units) break;
  }
  Barrier::Arrive(s);
}
// A block arrives at the barrier in front of the output projection as soon as it has left the inputs: there is no other. Absorb, attend and expand are one
// behind the other for all of a block's units, so that no block waits for what a waiting one has yet to begin.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void MlaShortPhase(Step s) {
  Barrier::ArriveMarked(s);
  ShortAbsorb<F>(s);
#pragma unroll 1
  for (int unit = BlockId(); unit < CountShortUnits(s); unit += GridSize()) {
    ShortAttend(s, unit);
    if (unit + GridSize() < CountShortUnits(s)) SyncWorkers();
  }
  SyncWorkers();  // the latent takes the query's place, and a part without rows has no barrier behind the writing of its query
#pragma unroll 1
  for (int unit = BlockId(); unit < CountShortUnits(s); unit += GridSize()) {
    ShortExpand<F>(s, unit);
    if (unit + GridSize() < CountShortUnits(s)) SyncWorkers();
  }
}

// One copy of the code for both mixers: what is executed once a layer comes from far.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void OutputPhase(Step s) {
  using Rows = OutputRows<F, Answer::kMixer>;
  const bool is_kda = s.l().is_kda, is_short = s.p().is_short;
  if (!is_kda && !is_short) Arrive(s.shared().has_attended);
  const float before = Rows::Ask(s);
  Barrier::Wait(s);
  if (ThreadId() == 0 && is_kda) Arrive(s.shared().has_mixed);
  if (is_kda) StageHeads<F>(s);
  else if (is_short) StageShortValues<F>(s);
  else StageMixed<F>(s);
  RunPasses<F, Rows>(s, before);
  Barrier::ArriveMarked(s);
}

// kWgmma: every MLA layer has the shape of tiles, and ptxas lets no warpgroup product in a function that is called start before the one before it is done.
template <WeightFormat F, typename Barrier, bool kWgmma>
__device__ __forceinline__ void Mix() {
  if (!CurrentStep().l().is_kda) {
    if (!kWgmma && CurrentStep().p().is_short) {
      MlaShortPhase<F, Barrier>(CurrentStep());
    } else {
      MlaAbsorbPhase<F, Barrier>(CurrentStep());
      if constexpr (kWgmma) AttendByTiles<sm90::TileShared, Barrier>(CurrentStep());
      else MlaAttendPhase<Barrier>(CurrentStep());
      MlaExpandPhase<F, Barrier>(CurrentStep());
    }
    return OutputPhase<F, Barrier>(CurrentStep());
  }
  // With q4 the usual phase finds what it needs in slots, and there may be none.
  if (F == WeightFormat::kQ4 ? SliceBySlots<F>(CurrentStep()) : CurrentStep().l().kda.usual) KdaPhase<F, kUsualRows, Barrier>(CurrentStep());
  else KdaPhase<F, kMaxRows, Barrier>(CurrentStep());
  OutputPhase<F, Barrier>(CurrentStep());
}

// ---- logits ----------------------------------------------------------------------------------------------------------

template <WeightFormat F>
struct HeadRows {
  static constexpr bool kDeep = true;
  Share share;
  int window;

  __device__ __forceinline__ explicit HeadRows(Step s) : share(ShareOfTiles(s.p(), static_cast<int>(s.p().lm_head.rows))), window(s.p().head_window) {}
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    BuildJob(job, TilesOf(n), s.p().hidden, [&](int i) { return TileOf<F>(s.p().lm_head, first, n, i, HiddenForm<F>(s), first); });
  }
  template <bool>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float) {
    WriteSums(SharedAddress(&job), s.queue().memory, {s.p().logits, false, false, 0, 0, 0});
  }
};

template <WeightFormat F, typename Barrier>
__device__ __noinline__ void HeadPhase(Step s) {
  StageNormed<F, Barrier>(s, s.p().final_norm, SharedAddress(s.plain(kPlainNone)), false, s.l().x_mark ^ 1, 0);
  RunPasses<F, HeadRows<F>>(s);
}

// ---- feed-forward -----------------------------------------------------------------------------------------------------------

// x += the answer of shared experts that are not as wide as the others.
template <WeightFormat F>
__device__ __noinline__ void RunShared(Step s) {
  using Rows = OutputRows<F, Answer::kShared>;
  SyncWorkers();
  StageShares<F>(s.memory_at(), s.p().scratch.activated + s.l().moe.top_k * s.l().moe.experts.width, static_cast<int>(s.l().glu.width), 1);
  const float before = Rows::Ask(s);
  SyncWorkers();
  RunPasses<F, Rows>(s, before);
}

// The router of many rows a block, or of another format or size: a row a warp, from the staged vector.
inline __device__ __noinline__ void MultiplyRouter(Step s) {
#pragma unroll 1
  for (int row = s.last_first(); row < s.l().moe.router.rows; row += s.all_warps()) {
    const float y = PlainDot(s.l().moe.router, row, s.memory_at());
    if (ThreadId() % kWarp == 0) s.p().scratch.logits[row] = Marked(y, s.router_mark());
  }
}

// Norm, and the dense block's gate and up.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void DenseGatePhase(Step s) {
  StageNormed<F, Barrier>(s, s.l().post_norm, SharedAddress(s.plain(kPlainNone)), false, s.l().x_mark, 0);
  RunPasses<F, GluRows<F>>(s);
  Barrier::Arrive(s);
}

// Gate and up of the shared and the chosen experts, x staged. The shared experts' part, which needs nothing of the choice, goes first, while the chosen
// experts' first weights are on their way.
template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void MultiplyExperts(Step s) {
  RunPasses<F, GluRows<F>>(s);
  SyncWorkers();  // their sums have been read, and the next job's lie in the same place
  RunPasses<F, ExpertRows<F>>(s);
  Barrier::Arrive(s);
}

// Norm, router, choice, and gate and up of the experts. The router's scores leave before the normed vector is staged.
template <WeightFormat F, typename Barrier>
__device__ __noinline__ void ExpertPhase(Step s) {
  StageNormed<F, Barrier>(s, s.l().post_norm, SharedAddress(s.plain(kPlainRouter)), false, s.l().x_mark, s.router_mark());
  s = CurrentStep();
  if (!s.l().moe.with_norm) MultiplyRouter(s);
  ChooseExperts(s, s.memory() + s.p().staged_bytes);
  MultiplyExperts<F, Barrier>(CurrentStep());
}

template <WeightFormat F, typename Barrier>
__device__ __noinline__ void DownPhase(Step s) {
  const float before = DownRows<F>::Ask(s);
  Barrier::Wait(s);
  DownRows<F>::StageActivated(s);
  RunPasses<F, DownRows<F>>(s, before);
  if (SharedApart(CurrentStep())) {
    RunShared<F>(CurrentStep());
    return Barrier::Arrive(s);  // what they add to has been marked before
  }
  Barrier::ArriveMarked(s);
}

template <WeightFormat F, typename Barrier>
__device__ __noinline__ void DenseDownPhase(Step s) {
  using Rows = OutputRows<F, Answer::kDense>;
  const float before = Rows::Ask(s);
  Barrier::Wait(s);
  StageShares<F>(s.memory_at(), s.p().scratch.activated, static_cast<int>(s.l().glu.width), 1);
  SyncWorkers();
  RunPasses<F, Rows>(s, before);
  Barrier::ArriveMarked(s);
}

template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void FeedForward() {
  if (CurrentStep().l().is_moe) {
    ExpertPhase<F, Barrier>(CurrentStep());
    DownPhase<F, Barrier>(CurrentStep());
  } else {
    DenseGatePhase<F, Barrier>(CurrentStep());
    DenseDownPhase<F, Barrier>(CurrentStep());
  }
}

// ---- the feeders' step ------------------------------------------------------------------------------------------------

// What the feeders have to do besides they do behind the shared experts, while nobody knows yet which experts to bring.

// What the workers will look for in a layer that has come, and its first job.
template <WeightFormat F>
__device__ __forceinline__ void PrepareLayer(Step s, const Feeder& f) {
  KeepRecords(s);
  if (f.warp != 0) return;
  FindPlainRows(s), FindPages(s);
  const InputRows<F> rows(s);
  BuildPass(s, rows, rows.share.begin, s.shared().next_inputs);
  __syncwarp();
}
// The layer after the next comes, in place of one that the workers have left: the feeders are never more than kQueuedJobs ahead. The next, which came a layer
// ago, is prepared.
template <WeightFormat F>
__device__ __forceinline__ void FeedNextLayers(Step s, const Feeder& f) {
  const int next = s.index + 1, coming = next + 1, n = s.p().n_layers;
  if (coming < n) LoadLayer(s.p().layers + coming, &s.shared().layer[coming % kLayersKept], ThreadId() - kWorkers, kFeederWarps * kWarp);
  if (next < n) PrepareLayer<F>(Step{next}, f);
}
// The convolutions' tails move on. No worker leaves the layer before the next job is fed.
__device__ __forceinline__ void FeedTails(Step s, const Feeder& f) {
  if (!s.l().is_kda || f.warp == 0) return;
  Await(s.shared().has_mixed, s.l().kda.use);
  AdvanceTails(s, ThreadId() - kWorkers - kWarp, (kFeederWarps - 1) * kWarp);
}

// Feeds a layer's jobs, in the order in which the workers take them. What the workers read by themselves is asked for into the second-level cache, most
// of it behind the inputs.
template <WeightFormat F>
__device__ __forceinline__ void FeedLayer(Step s, Feeder& f, unsigned& n_attended) {
  PrefetchAhead(s.l().plain, f);
  Feed<F, InputRows<F>, true>(s, f);
  PrefetchAhead(s.l().ahead, f);
  if (s.l().is_kda) {
    FeedSlices<F>(s, f);
  } else if (!s.p().is_short) {  // attention has all of the slots' memory
    PrefetchAhead(s.l().behind, f);
    Await(s.shared().has_attended, n_attended++);
  }
  Feed<F, OutputRows<F, Answer::kMixer>>(s, f);
  Feed<F, GluRows<F>>(s, f);
  FeedNextLayers<F>(s, f);
  FeedTails(s, f);
  if (!s.l().is_moe) return Feed<F, OutputRows<F, Answer::kDense>>(s, f);
  Feed<F, ExpertRows<F>>(s, f);
  Feed<F, DownRows<F>>(s, f);
  if (SharedApart(s)) Feed<F, OutputRows<F, Answer::kShared>>(s, f);
}

template <WeightFormat F>
__device__ __noinline__ void FeedStep() {
  Feeder f;
  unsigned n_attended = 0;
  const int n_layers = Step{0}.p().n_layers;
  PrepareLayer<F>(Step{0}, f);
#pragma unroll 1
  for (int i = 0; i < n_layers; ++i) FeedLayer<F>(Step{i}, f, n_attended);
  Feed<F, HeadRows<F>>(Step{n_layers - 1}, f);
}

// ---- how a block's shared memory is shared out -------------------------------------------------------------------------

// Bytes of the largest phase's staged vectors, and behind them kBeyondRow.
template <WeightFormat F>
size_t StageBytes(const DecoderSpec& spec) {
  size_t bytes = 0;
  const auto grow = [&](size_t n) { bytes = std::max<size_t>(bytes, AlignUp(n, 128)); };
  grow(StagedBytes(spec.hidden));
  for (const LayerWeights& w : spec.layers) {
    if (w.is_kda) {
      const int64_t C = w.kda.heads * w.kda.head_dim;
      grow(AlignUp(sizeof(StepKdaShared), 16) + 2 * StagedFloatBytes(w.kda.gate_rank));
      grow(FormBytes<F>(C));
    } else {
      const MlaShape& shape = w.mla.shape;
      grow(FormBytes<F>(shape.n_heads * shape.value));
      grow(ExpandBytes(1));
      grow(AbsorbBytes(shape.nope, shape.rope));
    }
    if (w.is_moe) {
      const MoeWeights& m = w.moe;
      grow(StagedBytes(spec.hidden) + 4 * (2 * m.router.rows + m.n_groups));
      grow((m.top_k + 1) * FormBytes<F>(m.experts.width));
      grow(FormBytes<F>(m.shared.width));
    } else {
      grow(FormBytes<F>(w.dense.width));
    }
  }
  return AlignUp(bytes + (IsQuantized(F) ? kBeyondRow : 0), 128);
}

// Units that a job needs room for whatever the grid.
inline int LeastUnits(const DecoderSpec& spec) {
  int units = 0;
  const auto grow = [&](int64_t matrices, int64_t cols) { units = std::max(units, static_cast<int>(matrices) * PartsOf(static_cast<int>(cols))); };
  grow(kMaxInputs + 1, spec.hidden);  // PassRows() leaves room for as many ragged tiles
  for (const LayerWeights& w : spec.layers) {
    grow(2, w.is_kda ? w.kda.heads * w.kda.head_dim : w.mla.shape.n_heads * w.mla.shape.value);
    if (w.is_moe) {
      grow(2 * (w.moe.top_k + 1), w.moe.experts.width);
      grow(4, spec.hidden);
      grow(2, w.moe.shared.width);
    } else {
      grow(2, w.dense.width);
    }
  }
  return units;
}

// [StepShared | staged vectors | sums | slots]; the attention's tiles and partials lie over all behind the first, attention by heads over staged vectors and
// sums. With it is known which kind of attention a position has.
template <WeightFormat F>
absl::Status PlaceShared(const CudaDevice& d, const DecoderSpec& spec, StepParams* p, size_t* bytes) {
  const size_t limit = d.max_shared_bytes();
  const size_t first = kPhaseAt, staged = StageBytes<F>(spec), least = size_t(LeastUnits(spec)) * kUnitBytes;
  p->slots = F == WeightFormat::kQ4 ? kMostSlots : 0;  // without any, weights are read where they are needed
  while (p->slots > 0 && first + staged + least + p->slots * kSlotBytes > limit) p->slots = FewerSlots(p->slots);
  const size_t slots = static_cast<size_t>(p->slots) * kSlotBytes;
  if (first + staged + least + slots > limit) {
    return absl::InvalidArgumentError(absl::StrCat("fused decode step: needs ", first + staged + least + slots, " bytes of shared memory, the device has ", limit));
  }
  p->max_units = static_cast<int>(std::min<size_t>((limit - first - staged - slots) / kUnitBytes, kMostUnits));
  p->sums_at = static_cast<int>(first + staged);
  p->slots_at = static_cast<int>(AlignUp(p->sums_at + p->max_units * kUnitBytes, 128));
  if (p->slots_at + slots > limit) {
    p->max_units -= 2;
    p->slots_at -= 128;
  }
  *bytes = p->slots_at + slots;
  p->stages = first + TileSharedBytes(kFewestStages) <= limit ? CountStages(limit - first) : 0;
  p->short_until = first + sizeof(ShortShared) <= static_cast<size_t>(p->slots_at) ? kShortContext : 0;
  p->expand_room = ExpandRoom(limit - first);
  bool by_wgmma = d.has_wgmma() && first + sm90::TileSharedBytes() <= limit;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    if (spec.layers[i].is_kda) continue;
    *bytes = std::max(*bytes, first + ExpandBytes(p->expand_room));
    const MlaShape& shape = spec.layers[i].mla.shape;
    const bool tiles = shape.latent == kTileLatent && shape.rope == kTileRow - kTileLatent && spec.states[i].mla_cache.dtype == DType::kBf16;
    if (tiles && p->stages > 0) *bytes = std::max(*bytes, first + TileSharedBytes(p->stages));
    by_wgmma = by_wgmma && tiles;
    if (!tiles) p->short_until = 0;
  }
  if (by_wgmma) *bytes = std::max(*bytes, first + sm90::TileSharedBytes());
  p->wgmma_from = by_wgmma ? FirstWgmmaPosition(spec, d.sm_count()) : kNever;
  p->short_until = std::min(p->short_until, p->wgmma_from);  // one kernel has either
  p->half_until = HalfHeadsUntil(spec, d.sm_count());
  return absl::OkStatus();
}

}  // namespace rill::cuda
