// The fused decode step: one cooperative launch a token. Its blocks stay on their multiprocessors and walk the model's
// phases with a barrier across the grid between them, so a token costs no launches in its middle, nothing depends on the
// position but the length of one loop, and the grid is as large as the multiprocessors this device may use.
#include "kernels/cuda/decoder_phases.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/device/buffer.h"

namespace rill::cuda {
namespace {

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

__device__ void LoadLayer(const StepLayer* from, StepLayer* to) {
  constexpr int kPieces = sizeof(StepLayer) / sizeof(uint4);
  for (int i = threadIdx.x; i < kPieces; i += kStepThreads) {
    reinterpret_cast<uint4*>(to)[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
  }
}

// The normed residual stream at the start of the phase memory.
__device__ Staged StageHidden(const Step& s, const float* weight) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, weight, s.p.norm_eps, s.shared.scratch, [&](int i) { return LoadShared(s.p.scratch.x + i); });
  __syncthreads();
  return x;
}

// The first layer's input is a row of the embedding; one block keeps it as the residual stream.
__device__ Staged StageEmbedding(const Step& s) {
  const Staged x = s.Place(s.memory, s.p.hidden);
  StageNorm(x, s.p.hidden, s.l.input_norm, s.p.norm_eps, s.shared.scratch, [&](int i) {
    const float value = WeightAt(s.p.embedding, s.p.token, i);
    if (blockIdx.x == 0) s.p.scratch.x[i] = value;
    return value;
  });
  __syncthreads();
  return x;
}

__device__ void MixKda(const Step& s, GridBarrier& barrier) {
  KdaMix(s);
  barrier.Sync([&] { Prefetch(s.l.moe.router); });
  const Staged y = s.Place(s.memory, s.l.kda.C);
  StageHeads(s, y);
  __syncthreads();
  ProjectOutput(s, s.l.o, y);
  AdvanceTails(s);
}

__device__ void MixMla(const Step& s, GridBarrier& barrier) {
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

__device__ void FeedExperts(const Step& s, const Staged& x, GridBarrier& barrier) {
  RouteAndShare(s, x);
  barrier.Sync([] {});
  ChooseExperts(s, s.memory + s.p.staged_bytes);
  ExpertGlu(s, x);  // still staged
  barrier.Sync([&] { PrefetchDown(s); });
  ExpertDown(s);
}

__device__ void FeedDense(const Step& s, const Staged& x, GridBarrier& barrier) {
  GluRows(s, s.l.glu, x, s.first_unit(), s.p.scratch.activated);
  barrier.Sync([&] { Prefetch(s.l.glu.down); });
  const int width = static_cast<int>(s.l.glu.width);
  const Staged y = s.Place(s.memory, width);
  Stage(y, width, [&](int i) { return LoadShared(s.p.scratch.activated + i); });
  __syncthreads();
  ProjectOutput(s, s.l.glu.down, y);
}

// Logits: four rows a warp, two of them by the same lanes, so that every staged group is read once for both.
__device__ void Head(const Step& s) {
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

__global__ void __launch_bounds__(kStepThreads, 1) StepKernel(const __grid_constant__ StepParams p) {
  extern __shared__ __align__(128) char memory[];
  StepShared& shared = *reinterpret_cast<StepShared*>(memory);
  char* phase_memory = memory + AlignUp(sizeof(StepShared), 128);
  GridBarrier barrier(p.barrier, p.barrier_base);
  LoadLayer(p.layers, &shared.layer[0]);
  __syncthreads();
  for (int i = 0; i < p.n_layers; ++i) {
    const Step s = {p, shared.layer[i % 2], shared, phase_memory};
    const Staged x = i == 0 ? StageEmbedding(s) : StageHidden(s, s.l.input_norm);
    ProjectInputs(s, x);
    barrier.Sync([&] {
      Prefetch(s.l.is_kda ? s.l.kda.f_b : s.l.mla.kv_b);
      if (s.l.is_kda) Prefetch(s.l.kda.g_b);
      Prefetch(s.l.o);
      Prefetch(s.l.glu.gate);
      Prefetch(s.l.glu.up);
    });
    if (s.l.is_kda) MixKda(s, barrier);
    else MixMla(s, barrier);
    barrier.Sync([] {});
    const Staged y = StageHidden(s, s.l.post_norm);
    if (i + 1 < p.n_layers) LoadLayer(p.layers + i + 1, &shared.layer[(i + 1) % 2]);
    if (s.l.is_moe) FeedExperts(s, y, barrier);
    else FeedDense(s, y, barrier);
    barrier.Sync([&] {
      if (i + 1 == p.n_layers) return;
      const StepInputs& next = shared.layer[(i + 1) % 2].inputs;
      for (int j = 0; j < next.count; ++j) Prefetch(next.weight[j]);
    });
  }
  Head({p, shared.layer[0], shared, phase_memory});
}

// Shared memory of the largest phase.
size_t PhaseBytes(const DecoderSpec& spec, int stages) {
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

constexpr uint64_t kBarrierBytes = 256;  // alone on its cache lines

uint64_t LayersBytes(const DecoderSpec& spec) { return AlignUp(spec.layers.size() * sizeof(StepLayer), 256); }

class CudaDecoder final : public FusedDecoder {
 public:
  static absl::StatusOr<std::unique_ptr<FusedDecoder>> Make(CudaDevice& d, const DecoderSpec& spec) {
    RILL_RETURN_IF_ERROR(CheckSpec(spec));
    std::unique_ptr<CudaDecoder> decoder(new CudaDecoder(d));
    RILL_RETURN_IF_ERROR(decoder->Setup(spec));
    return std::unique_ptr<FusedDecoder>(std::move(decoder));
  }

  absl::Status Step(int32_t token, int64_t position) override {
    RILL_RETURN_IF_ERROR(device_.Begin());
    if (token < 0 || token >= params_.vocab) {
      return absl::InvalidArgumentError(absl::StrCat("fused decode step: token ", token, " of ", params_.vocab));
    }
    if (position < 0 || position >= max_context_) {
      return absl::InvalidArgumentError(absl::StrCat("fused decode step: position ", position, " of ", max_context_));
    }
    params_.token = token;
    params_.position = position;
    void* args[] = {&params_};
    RILL_RETURN_IF_ERROR(device_.Take(
        cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(StepKernel), dim3(grid_), dim3(kStepThreads), args,
                                    shared_bytes_, device_.stream()),
        "fused decode step"));
    params_.barrier_base += static_cast<unsigned>(n_barriers_) * grid_;
    return absl::OkStatus();
  }

  uint64_t device_bytes() const override { return memory_.bytes(); }

 private:
  explicit CudaDecoder(CudaDevice& d) : device_(d) {}

  absl::Status Setup(const DecoderSpec& spec) {
    params_.stages = PhaseBytes(spec, 2) <= device_.max_shared_bytes() ? 2 : 1;
    shared_bytes_ = PhaseBytes(spec, params_.stages);
    RILL_RETURN_IF_ERROR(AllowShared(device_, StepKernel, shared_bytes_, "fused decode step"));
    grid_ = static_cast<unsigned>(device_.sm_count());
    n_barriers_ = CountBarriers(spec);
    max_context_ = spec.max_context;
    RILL_ASSIGN_OR_RETURN(memory_, Buffer::Allocate(device_, FusedDecoderBytes(spec)));
    char* base = memory_.as<char>();
    RILL_RETURN_IF_ERROR(device_.Fill(base, 0, kBarrierBytes));
    std::vector<StepLayer> layers;
    for (size_t i = 0; i < spec.layers.size(); ++i) layers.push_back(MakeStepLayer(spec.layers[i], spec.states[i]));
    RILL_RETURN_IF_ERROR(device_.CopyIn(base + kBarrierBytes, layers.data(), layers.size() * sizeof(StepLayer)));
    params_.layers = reinterpret_cast<const StepLayer*>(base + kBarrierBytes);
    params_.n_layers = static_cast<int>(layers.size());
    params_.hidden = static_cast<int>(spec.hidden), params_.vocab = static_cast<int>(spec.vocab);
    params_.norm_eps = spec.norm_eps;
    params_.embedding = spec.embedding, params_.lm_head = spec.lm_head;
    params_.final_norm = spec.final_norm.f32(), params_.logits = spec.logits.f32();
    params_.scratch = PlaceScratch(MeasureScratch(spec), base + kBarrierBytes + LayersBytes(spec));
    params_.barrier = memory_.as<unsigned>();
    params_.staged_bytes = static_cast<int>(StagedBytes(spec.hidden));
    return absl::OkStatus();
  }

  CudaDevice& device_;
  Buffer memory_;
  StepParams params_ = {};
  size_t shared_bytes_ = 0;
  unsigned grid_ = 0;
  int n_barriers_ = 0;
  int64_t max_context_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FusedDecoder>> MakeFusedDecoder(Device& device, const DecoderSpec& spec) {
  return CudaDecoder::Make(Cast(device), spec);
}

uint64_t FusedDecoderBytes(const DecoderSpec& spec) {
  return kBarrierBytes + LayersBytes(spec) + ScratchBytes(MeasureScratch(spec));
}

}  // namespace rill::cuda
