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
    target_ += gridDim.x;
    __syncthreads();
    if (threadIdx.x == 0) asm volatile("fence.acq_rel.gpu; red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrivals_) : "memory");
  }
  __device__ void Wait() {
    if (threadIdx.x == 0) {
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

__device__ inline void LoadLayer(const StepLayer* from, StepLayer* to) {
  constexpr int kPieces = sizeof(StepLayer) / sizeof(uint4);
  for (int i = threadIdx.x; i < kPieces; i += kStepThreads) {
    reinterpret_cast<uint4*>(to)[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
  }
}

// The normed residual stream at the start of the phase memory.
__device__ inline Staged StageHidden(const Step& s, const float* weight) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, weight, s.p.norm_eps, s.shared.scratch, [&](int i) { return LoadShared(s.p.scratch.x + i); });
  __syncthreads();
  return x;
}

// The first layer's input is a row of the embedding; one block keeps it as the residual stream.
__device__ inline Staged StageEmbedding(const Step& s) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, s.l.input_norm, s.p.norm_eps, s.shared.scratch, [&](int i) {
    const float value = WeightAt(s.p.embedding, s.p.token, i);
    if (blockIdx.x == 0) s.p.scratch.x[i] = value;
    return value;
  });
  __syncthreads();
  return x;
}

__device__ inline void MixKda(const Step& s, GridBarrier& barrier) {
  KdaMix(s);
  barrier.Sync([&] { Prefetch(s.l.moe.router); });
  const Staged y = s.Place(s.memory, s.l.kda.C);
  StageHeads(s, y);
  __syncthreads();
  ProjectOutput(s, s.l.o, y);
  AdvanceTails(s);
}

__device__ inline void MixMla(const Step& s, GridBarrier& barrier) {
  const MlaTask a = TaskOf(s);
  MlaAbsorb(s, a);
  barrier.Sync([&] { Prefetch(s.l.moe.router); });
  MlaAttend(s, a);
  barrier.Sync([] {});
  MlaExpand(s, a);
  barrier.Sync([] {});
  const int n = a.H * a.V;
  const Staged y = s.Place(s.memory, n);
  Stage(y, n, [&](int i) { return LoadShared(s.p.scratch.mixed + i); });
  __syncthreads();
  ProjectOutput(s, s.l.o, y);
}

__device__ inline void FeedExperts(const Step& s, const Staged& x, GridBarrier& barrier) {
  RouteAndShare(s, x);
  barrier.Sync([] {});
  ChooseExperts(s, s.memory + s.p.staged_bytes);
  ExpertGlu(s, x);  // still staged
  barrier.Sync([&] { PrefetchDown(s); });
  ExpertDown(s);
}

__device__ inline void FeedDense(const Step& s, const Staged& x, GridBarrier& barrier) {
  GluRows(s, s.l.glu, x, s.first_unit(), s.p.scratch.activated);
  barrier.Sync([&] { Prefetch(s.l.glu.down); });
  const int width = static_cast<int>(s.l.glu.width);
  const Staged y = s.Place(s.memory, width);
  Stage(y, width, [&](int i) { return LoadShared(s.p.scratch.activated + i); });
  __syncthreads();
  ProjectOutput(s, s.l.glu.down, y);
}

// Logits: four rows a warp, two of them by the same lanes, so that every staged group is read once for both.
__device__ inline void Head(const Step& s) {
  const MatrixView& m = s.p.lm_head;
  Staged x = PlaceStaged(s.memory, s.p.hidden);
  if (IsQuantized(m.format)) x.f = nullptr;
  else x.q = nullptr;
  StageNorm(x, s.p.hidden, s.p.final_norm, s.p.norm_eps, s.shared.scratch, [&](int i) { return LoadShared(s.p.scratch.x + i); });
  __syncthreads();
  const int rows = static_cast<int>(m.rows), units = (rows + 3) / 4;
  for (int unit = s.first_unit(); unit < units; unit += s.unit_stride()) {
    const int row = 4 * unit + threadIdx.x % kWarp / kLanes * 2;
    const int at[2] = {min(row, rows - 1), min(row + 1, rows - 1)};
    float sum[2] = {0, 0};
    if (m.format == WeightFormat::kQ4) {
      const MatrixView* const both[2] = {&m, &m};
      DotQ4<2, kLanes>(both, at, x, threadIdx.x % kLanes, sum);
      sum[0] = LaneSum<kLanes>(sum[0]);
      sum[1] = LaneSum<kLanes>(sum[1]);
    } else {
      sum[0] = RowDot(m, at[0], x);
      sum[1] = RowDot(m, at[1], x);
    }
    if (threadIdx.x % kLanes < 2 && row + threadIdx.x % kLanes < rows) {
      s.p.logits[row + threadIdx.x % kLanes] = threadIdx.x % kLanes == 0 ? sum[0] : sum[1];
    }
  }
}

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
