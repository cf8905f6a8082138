// kernels/cuda/decoder_walk.cuh — the order of the phases within a layer, and the barrier between them.
#pragma once

#include <algorithm>

#include "kernels/cuda/decoder_phases.cuh"

namespace rill::cuda {

// Arrive, do something useful, wait. Arrivals are counted for ever; comparing the difference survives the wrap.
class GridBarrier {
 public:
  __device__ GridBarrier(unsigned* arrivals, unsigned base) : arrivals_(arrivals), target_(base) {}
  __device__ void Arrive() {
    target_ += GridSize();
    __syncthreads();
    if (ThreadId() == 0) asm volatile("fence.acq_rel.gpu; red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrivals_) : "memory");
  }
  __device__ void Wait() {
    if (ThreadId() == 0) {
      unsigned seen;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrivals_) : "memory");
      } while (static_cast<int>(seen - target_) < 0);
      asm volatile("fence.acq_rel.gpu;" ::: "memory");
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

// The kernel's parameters come to shared memory, where functions that are not inlined reach them cheaply.
__device__ inline void LoadParams(const StepParams& from, StepParams* to) {
  static_assert(sizeof(StepParams) % 8 == 0);
  for (unsigned i = ThreadId(); i < sizeof(StepParams) / 8; i += kStepThreads) {
    reinterpret_cast<uint64_t*>(to)[i] = reinterpret_cast<const uint64_t*>(&from)[i];
  }
}

// Starts the copy of a layer's struct; FinishLoads() and a barrier later it is there.
__device__ inline void StartLoad(const StepLayer* from, StepLayer* to) {
  constexpr int kPieces = sizeof(StepLayer) / 16;
  for (int i = ThreadId(); i < kPieces; i += kStepThreads) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(reinterpret_cast<char*>(to) + 16 * i)),
                 "l"(reinterpret_cast<const char*>(from) + 16 * i) : "memory");
  }
  asm volatile("cp.async.commit_group;" ::: "memory");
}
__device__ inline void FinishLoads() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

// The normed residual stream at the start of the phase memory.
__device__ __forceinline__ Staged StageHidden(const Step& s, const float* weight) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, weight, s.p.norm_eps, s.shared.scratch, [&](int i) { return LoadShared(s.p.scratch.x + i); });
  __syncthreads();
  return x;
}

// The first layer's input is a row of the embedding; one block keeps it as the residual stream.
__device__ __forceinline__ Staged StageEmbedding(const Step& s) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, s.l.input_norm, s.p.norm_eps, s.shared.scratch, [&](int i) {
    const float value = WeightAt(s.p.embedding, s.p.token, i);
    if (BlockId() == 0) s.p.scratch.x[i] = value;
    return value;
  });
  __syncthreads();
  return x;
}

// From the projected inputs (of this block; a barrier is still to come) to the mixer's output added to the residual stream.
__device__ __forceinline__ void MixKda(const Step& s, GridBarrier& barrier) {
  barrier.Arrive();
  KdaLoads loads;
  LoadSlice(s, BlockId(), loads);
  Prefetch(s.l.o);
  Prefetch(s.l.glu.gate);
  Prefetch(s.l.glu.up);
  Prefetch(s.l.moe.router);
  barrier.Wait();
  KdaMix(s, loads);
  OutputPhase output;
  barrier.Sync([&] { output.Start(s, s.l.o); });
  const Staged y = s.Place(s.memory, s.l.kda.C);
  StageHeads(s, y);
  __syncthreads();
  output.Finish(s, s.l.o, y);
  AdvanceTails(s);
}

__device__ __forceinline__ void MixMla(const Step& s, GridBarrier& barrier) {
  const MlaTask a = TaskOf(s);
  barrier.Sync([&] {
    Prefetch(s.l.mla.kv_b);
    Prefetch(s.l.o);
    Prefetch(s.l.glu.gate);
    Prefetch(s.l.glu.up);
    Prefetch(s.l.moe.router);
  });
  MlaAbsorb(s, a);
  barrier.Sync([] {});
  MlaAttend(s, a);
  barrier.Sync([] {});
  MlaExpand(s, a);
  OutputPhase output;
  barrier.Sync([&] { output.Start(s, s.l.o); });
  const int n = a.H * a.V;
  const Staged y = s.Place(s.memory, n);
  Stage(y, n, [&](int i) { return LoadShared(s.p.scratch.mixed + i); });
  __syncthreads();
  output.Finish(s, s.l.o, y);
}

// Both end without the barrier behind the block, so that the next layer's weights can be asked for in front of it.
__device__ __forceinline__ void FeedExperts(const Step& s, GridBarrier& barrier) {
  RoutePhase route;
  QuickChoice quick;
  barrier.Sync([&] { route.Start(s); });
  const Staged x = StageHidden(s, s.l.post_norm);
  route.Finish(s, x);
  barrier.Sync([&] { quick.Load(s.l.moe); });
  ChooseExperts(s, quick, s.memory + s.p.staged_bytes);
  ExpertGlu(s, x);  // still staged
  DownPhase down;
  barrier.Sync([&] {
    down.Start(s);
    PrefetchDown(s);
  });
  down.Finish(s);
}

__device__ __forceinline__ void FeedDense(const Step& s, GridBarrier& barrier) {
  GluPhase glu;
  barrier.Sync([&] { glu.Start(s, s.first_unit()); });
  const Staged x = StageHidden(s, s.l.post_norm);
  glu.Finish(s, x, s.first_unit(), s.p.scratch.activated);
  OutputPhase output;
  barrier.Sync([&] {
    output.Start(s, s.l.glu.down);
    Prefetch(s.l.glu.down);
  });
  const int width = static_cast<int>(s.l.glu.width);
  const Staged y = s.Place(s.memory, width);
  Stage(y, width, [&](int i) { return LoadShared(s.p.scratch.activated + i); });
  __syncthreads();
  output.Finish(s, s.l.glu.down, y);
}

// Logits, two rows a warp.
struct HeadPhase {
  Q4Stream<kLanes, 1> stream;

  __device__ __forceinline__ void Start(const Step& s) {
    const MatrixView& m = s.p.lm_head;
    stream.Start(s.first_unit(), m.format == WeightFormat::kQ4 ? (static_cast<int>(m.rows) + 1) / 2 : 0, s.unit_stride(), s.p.hidden, OutputPhase::RowAt(m));
  }
  __device__ __forceinline__ void Finish(const Step& s) {
    const MatrixView& m = s.p.lm_head;
    Staged x = PlaceStaged(s.memory, s.p.hidden);
    if (IsQuantized(m.format)) x.f = nullptr;
    else x.q = nullptr;
    StageNorm(x, s.p.hidden, s.p.final_norm, s.p.norm_eps, s.shared.scratch, [&](int i) { return LoadShared(s.p.scratch.x + i); });
    __syncthreads();
    const int rows = static_cast<int>(m.rows);
    float* logits = s.p.logits;
    const auto write = [&](int unit, float y) {
      const int row = 2 * unit + OutputPhase::LaneRow();
      if (row < rows && ThreadId() % kLanes == 0) logits[row] = y;
    };
    stream.Run(x, OutputPhase::RowAt(m), [&](int unit, const float (&sums)[1]) { write(unit, sums[0]); });
    if (m.format == WeightFormat::kQ4) return;
    for (int unit = s.first_unit(); 2 * unit < rows; unit += s.unit_stride()) write(unit, RowDot(m, min(2 * unit + OutputPhase::LaneRow(), rows - 1), x));
  }
};

// Shared memory of the largest phase.
inline size_t PhaseBytes(const DecoderSpec& spec, int stages) {
  size_t bytes = StagedBytes(spec.hidden);
  const auto grow = [&](size_t n) { bytes = std::max(bytes, n); };
  for (const LayerWeights& w : spec.layers) {
    if (w.is_kda) {
      const int64_t C = w.kda.heads * w.kda.head_dim;
      grow(AlignUp(sizeof(StepKdaShared), 16) + 2 * StagedBytes(w.kda.gate_rank));
      grow(StagedBytes(C) + AlignUp(4 * w.kda.heads, 16));
    } else {
      const MlaShape& shape = w.mla.shape;
      grow(StagedBytes(shape.n_heads * shape.value));
      grow(StagedBytes(shape.latent) + 4 * kMaxSlots);
      const bool tiles = shape.latent == kTileLatent && shape.rope == kTileRow - kTileLatent;
      if (tiles) grow(TileSharedBytes(stages));
    }
    if (w.is_moe) {
      const MoeWeights& m = w.moe;
      grow(StagedBytes(spec.hidden) + 4 * (2 * m.router.rows + m.n_groups));
      const int64_t n_experts = m.top_k + 1;
      grow(AlignUp(sizeof(DownShared), 16) + m.top_k * StagedBytes(m.experts.width) + StagedBytes(m.shared.width) +
           sizeof(float) * std::max<int64_t>(kStepThreads, n_experts));
    } else {
      grow(StagedBytes(w.dense.width));
    }
  }
  return bytes + AlignUp(sizeof(StepShared), 128);
}

}  // namespace rill::cuda
