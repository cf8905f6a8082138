// kernels/cuda/decoder_walk.cuh — the order of the phases within a layer, and the barrier between them.
//
// Every phase has the same shape: arrive, ask for what needs no activation (weights into their slots, norms, states), wait, stage the
// activations, compute, write. What is asked for between arriving and waiting hides the barrier.
#pragma once

#include <algorithm>

#include "kernels/cuda/decoder_feed.cuh"
#include "kernels/cuda/decoder_kda.cuh"
#include "kernels/cuda/decoder_mla.cuh"

namespace rill::cuda {

// Arrivals are counted for ever; comparing the difference survives the wrap. The block's barriers carry the order to and from its first
// thread, whose release and acquire carry it across the grid.
class GridBarrier {
 public:
  __device__ explicit GridBarrier(const StepParams& p) : arrivals_(p.barrier), target_(p.barrier_base) {}
  __device__ __forceinline__ void Arrive() {
    target_ += GridSize();
    __syncthreads();
    if (ThreadId() == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrivals_) : "memory");
  }
  __device__ __forceinline__ void Wait() {
    if (ThreadId() == 0) {
      unsigned seen;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrivals_) : "memory");
      } while (static_cast<int>(seen - target_) < 0);
    }
    __syncthreads();
  }
  template <typename Meanwhile>
  __device__ void Sync(Meanwhile meanwhile) {
    Arrive();
    meanwhile();
    Wait();
  }

 private:
  unsigned* arrivals_;
  unsigned target_;
};

// The kernel's parameters come to shared memory, where functions that are not inlined reach them cheaply, and the zeros of the products.
// The caller puts a barrier behind it.
__device__ inline void BeginStep(const StepParams& from, StepShared& shared) {
  static_assert(sizeof(StepParams) % 8 == 0);
  for (unsigned i = ThreadId(); i < sizeof(StepParams) / 8; i += kStepThreads) {
    reinterpret_cast<uint64_t*>(&shared.params)[i] = reinterpret_cast<const uint64_t*>(&from)[i];
  }
  ClearZeros(shared.zeros);
}
__device__ inline void LoadLayer(const StepLayer* from, StepLayer* to) {
  static_assert(sizeof(StepLayer) % 16 == 0);
  for (unsigned i = ThreadId(); i < sizeof(StepLayer) / 16; i += kStepThreads) {
    reinterpret_cast<uint4*>(to)[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
  }
}

// ---- input projections -----------------------------------------------------------------------------------------------

template <WeightFormat F>
struct InputRows {
  Share share;
  int window;
  HiddenNorm norm;

  __device__ __forceinline__ explicit InputRows(const Step& s)
      : share(ShareOf(s.p, s.l.inputs.big_rows())), window(s.l.window.inputs) {}
  __device__ __noinline__ static void Build(const Step& s, Job& job, int first, int n) {
    const StepInputs& in = s.l.inputs;
    BuildEndToEnd<F>(job, in.weight + in.plain, in.end + in.plain, in.count - in.plain, s.p.hidden, HiddenForm<F>(s), first, n,
                     [&](int i, int begin) { return in.offset[in.plain + i] + begin; });
  }
  __device__ __forceinline__ static void Done(const Step& s, const Job& job, int, int) {
    WriteSums(SharedAddress(&job), s.job_memory, s.p.scratch.projected, false, 0);
  }
  // The plain matrix that holds plain row `row`, and its first row's number.
  __device__ static int Find(const StepInputs& in, int row, int* begin) {
    int i = 0;
#pragma unroll 1
    while (row >= in.end[i]) ++i;
    *begin = i == 0 ? 0 : in.end[i - 1];
    return i;
  }
  // Behind a barrier of the block that follows the building.
  __device__ __forceinline__ void Start(const Step& s) {
    StartFirst<F>(s);
    norm.Load(s.l.input_norm, s.p.hidden);
  }
  // The hidden vector is staged.
  __device__ __forceinline__ void RunPlain(const Step& s) const {
    const StepInputs& in = s.l.inputs;
#pragma unroll 1
    for (int row = s.last_first(); row < in.plain_rows(); row += s.all_warps()) {
      int begin;
      const int i = Find(in, row, &begin);
      const float y = PlainDot(in.weight[i], row - begin, SharedAddress(s.memory));
      if (ThreadId() % kWarp == 0) s.p.scratch.projected[in.offset[i] + row - begin] = y;
    }
  }
};

// ---- output projections: x += W y for a staged y -----------------------------------------------------------------------

template <WeightFormat F>
struct OutputRows {
  const MatrixView& m;
  Share share;
  int window;
  float before;  // of the first pass's first rows, asked for ahead

  __device__ __forceinline__ OutputRows(const Step& s, const MatrixView& matrix, int pass)
      : m(matrix), share(ShareOf(s.p, s.p.hidden)), window(pass) {}
  __device__ __noinline__ void Build(const Step& s, Job& job, int first, int n) const {
    BuildJob(job, TilesOf(n), static_cast<int>(m.cols), [&](int i) { return TileOf<F>(m, first, n, i, SharedAddress(s.memory), first); });
  }
  __device__ __forceinline__ void Ask(const Step& s) { before = LoadShared(s.p.scratch.x + min(share.begin + ThreadId(), s.p.hidden - 1)); }
  __device__ __forceinline__ void Done(const Step& s, const Job& job, int first, int) const {
    const float old = first == share.begin ? before : LoadShared(s.p.scratch.x + min(first + ThreadId(), s.p.hidden - 1));
    WriteSums(SharedAddress(&job), s.job_memory, s.p.scratch.x, true, old);
  }
};

// ---- mixers: from the projected inputs (of this block; a barrier is still to come) to the residual stream ---------------------

template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void MixKda(const Step& s, Barrier& barrier) {
  if (IsUsual(s.l.kda)) KdaPhase<F, kUsualRows>(s, barrier);
  else barrier = KdaPhaseOfAnyShape<F>(s, barrier);
  OutputRows<F> output(s, s.l.o, s.l.window.output);
  barrier.Sync([&] { StartFirst<F>(s); });
  output.Ask(s);
  StageHeads<F>(s);
  BuildAhead<GluRows<F>>(s);
  RunPasses<F>(s, output);
}

template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void MixMla(const Step& s, Barrier& barrier) {
  const MlaTask a = TaskOf(s);
  barrier.Sync([&] { PrefetchAhead(s.l.ahead); });
  MlaAbsorb<F>(s, a);
  barrier.Sync([] {});
  MlaAttend(s, a);
  barrier.Sync([] {});
  MlaExpand<F>(s, a);
  OutputRows<F> output(s, s.l.o, s.l.window.output);
  barrier.Sync([&] { StartFirst<F>(s); });
  output.Ask(s);
  StageFloats<F>(SharedAddress(s.memory), s.p.scratch.mixed, a.H * a.V);
  __syncthreads();
  BuildAhead<GluRows<F>>(s);
  RunPasses<F>(s, output);
}

// ---- logits ----------------------------------------------------------------------------------------------------------

template <WeightFormat F>
struct HeadRows {
  Share share;
  int window;
  HiddenNorm norm;

  __device__ __forceinline__ explicit HeadRows(const Step& s)
      : share(ShareOf(s.p, static_cast<int>(s.p.lm_head.rows))), window(s.p.head_window) {}
  __device__ __noinline__ static void Build(const Step& s, Job& job, int first, int n) {
    BuildJob(job, TilesOf(n), s.p.hidden, [&](int i) { return TileOf<F>(s.p.lm_head, first, n, i, HiddenForm<F>(s), first); });
  }
  __device__ __forceinline__ static void Done(const Step& s, const Job& job, int, int) {
    WriteSums(SharedAddress(&job), s.job_memory, s.p.logits, false, 0);
  }
  __device__ __forceinline__ void Start(const Step& s) {
    StartFirst<F>(s);
    norm.Load(s.p.final_norm, s.p.hidden);
  }
  __device__ __forceinline__ void Finish(const Step& s) {
    StageNormed<F>(norm, s.p.final_norm);
    RunPasses<F>(s, *this);
  }
};

// ---- feed-forward. Both end without the barrier behind the layer, so that the next layer's weights can be asked for in front of it -------

// The layer behind this one: its struct's place in device and in shared memory; null behind the last.
struct NextLayer {
  const StepLayer* from;
  StepLayer* to;

  // Asks for it; Finish() and a barrier of the block later it is there. The block's last warps have the least to do.
  __device__ __forceinline__ void Load() const {
    constexpr int kPieces = sizeof(StepLayer) / 16;
    static_assert(kPieces <= kStepThreads);
    const int i = kStepThreads - 1 - ThreadId();
    if (from != nullptr && i < kPieces) CopyAsync16(SharedAddress(to) + 16 * i, reinterpret_cast<const char*>(from) + 16 * i);
    CommitCopies();
  }
  __device__ static void Finish() { asm volatile("cp.async.wait_all;" ::: "memory"); }
};

// What waits for no one, in the shadow of the first barrier.
template <WeightFormat F>
__device__ __forceinline__ void BeginFeed(const Step& s, HiddenNorm& norm, const NextLayer& next) {
  next.Load();
  StartFirst<F>(s);
  norm.Load(s.l.post_norm, s.p.hidden);
  if (s.l.is_kda) AdvanceTails(s);
}

// The job that follows a layer: the next one's inputs, or the head.
template <WeightFormat F>
__device__ __forceinline__ void BuildBehind(const Step& s, const NextLayer& next) {
  if (next.from == nullptr) {
    BuildAhead<HeadRows<F>>(s);
  } else {
    const Step after = {s.p, *next.to, s.shared, s.memory, s.job_memory, s.turn};
    BuildAhead<InputRows<F>>(after);
  }
}

// x += the answer of shared experts that are not as wide as the others.
template <WeightFormat F>
__device__ __noinline__ void FeedShared(const Step& s, const NextLayer& next) {
  __syncthreads();
  StageFloats<F>(SharedAddress(s.memory), s.p.scratch.activated + s.l.moe.top_k * s.l.moe.experts.width, static_cast<int>(s.l.glu.width));
  OutputRows<F> output(s, s.l.glu.down, s.l.window.down);
  BuildFirst(s, output);
  output.Ask(s);
  __syncthreads();
  StartFirst<F>(s);
  BuildBehind<F>(s, next);
  RunPasses<F>(s, output);
}

template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void FeedExperts(const Step& s, Barrier& barrier, const NextLayer& next) {
  const StepMoe& m = s.l.moe;
  {
    const GluRows<F> glu(s);
    HiddenNorm norm;
    barrier.Sync([&] { BeginFeed<F>(s, norm, next); });
    StageNormed<F>(norm, s.l.post_norm);
#pragma unroll 1
    for (int row = s.last_first(); row < m.router.rows; row += s.all_warps()) {
      const float y = PlainDot(m.router, row, SharedAddress(s.memory));
      if (ThreadId() % kWarp == 0) s.p.scratch.logits[row] = y;
    }
    RunPasses<F>(s, glu);
    NextLayer::Finish();
  }
  {
    QuickChoice quick;
    barrier.Sync([&] {
      quick.Load(m);
      KeepRecords(s);
    });
    ChooseExperts(s, quick, s.memory + s.p.staged_bytes);
    const ExpertRows<F> experts(s);
    if (ThreadId() < kWarp) FindRecords(s);
    BuildFirst(s, experts);
    __syncthreads();
    StartFirst<F>(s);
    BuildAhead<DownRows<F>>(s);
    RunPasses<F>(s, experts);  // x is still staged
  }
  DownRows<F> down(s);
  barrier.Sync([&] { StartFirst<F>(s); });
  down.StageActivated(s);
  if (s.l.glu.width > 0 && !SharedIsOneOf(s)) {
    RunPasses<F>(s, down);
    FeedShared<F>(s, next);
  } else {
    BuildBehind<F>(s, next);
    RunPasses<F>(s, down);
  }
}

template <WeightFormat F, typename Barrier>
__device__ __forceinline__ void FeedDense(const Step& s, Barrier& barrier, const NextLayer& next) {
  {
    const GluRows<F> glu(s);
    HiddenNorm norm;
    barrier.Sync([&] { BeginFeed<F>(s, norm, next); });
    StageNormed<F>(norm, s.l.post_norm);
    BuildAhead<OutputRows<F>>(s, s.l.glu.down, s.l.window.down);
    RunPasses<F>(s, glu);
    NextLayer::Finish();
  }
  OutputRows<F> output(s, s.l.glu.down, s.l.window.down);
  barrier.Sync([&] { StartFirst<F>(s); });
  output.Ask(s);
  StageFloats<F>(SharedAddress(s.memory), s.p.scratch.activated, static_cast<int>(s.l.glu.width));
  __syncthreads();
  BuildBehind<F>(s, next);
  RunPasses<F>(s, output);
}

// ---- how a block's shared memory is shared out -------------------------------------------------------------------------

// Bytes of the largest phase's staged vectors.
template <WeightFormat F>
size_t StageBytes(const DecoderSpec& spec) {
  size_t bytes = 0;
  const auto grow = [&](size_t n) { bytes = std::max<size_t>(bytes, AlignUp(n, 128)); };
  grow(StagedBytes(spec.hidden));
  for (const LayerWeights& w : spec.layers) {
    if (w.is_kda) {
      const int64_t C = w.kda.heads * w.kda.head_dim;
      grow(AlignUp(sizeof(StepKdaShared), 16) + 2 * StagedFloatBytes(w.kda.gate_rank));
      grow(FormBytes<F>(C) + 4 * w.kda.heads);
    } else {
      const MlaShape& shape = w.mla.shape;
      grow(FormBytes<F>(shape.n_heads * shape.value));
      grow(StagedBytes(shape.latent) + 8 * kMaxSlots);
      grow(kAbsorbFloats * sizeof(float));
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
  return bytes;
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

// [StepShared | staged vectors | sums | slots]; the attention's tiles lie over all behind the first.
template <WeightFormat F>
absl::Status PlaceShared(const DecoderSpec& spec, size_t limit, StepParams* p, size_t* bytes) {
  const size_t first = kPhaseAt, staged = StageBytes<F>(spec), least = size_t(LeastUnits(spec)) * kUnitBytes;
  const int wanted_slots = F == WeightFormat::kQ4 ? 2 : 0;
  p->slots = wanted_slots;
  while (p->slots > 1 && first + staged + least + p->slots * kSlotsBytes > limit) --p->slots;
  const size_t slots = static_cast<size_t>(p->slots) * kSlotsBytes;
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
  size_t tiles = 0;
  for (const LayerWeights& w : spec.layers) {
    const MlaShape& shape = w.mla.shape;
    if (!w.is_kda && shape.latent == kTileLatent && shape.rope == kTileRow - kTileLatent) tiles = TileSharedBytes(1);
  }
  p->stages = tiles > 0 && first + TileSharedBytes(2) <= limit ? 2 : 1;
  if (tiles > 0) *bytes = std::max(*bytes, first + TileSharedBytes(p->stages));
  return absl::OkStatus();
}

}  // namespace rill::cuda
