// The fused decode step: one cooperative launch a token. Its blocks stay on their multiprocessors and walk the model's
// phases with a barrier across the grid between them, so a token costs no launches in its middle, nothing depends on the
// position but the length of one loop, and the grid is as large as the multiprocessors this device may use.
#include <vector>

#include "kernels/cuda/decoder_walk.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/device/buffer.h"

namespace rill::cuda {
namespace {

// The phases' view of layer i. The base is opaque: see OpaqueZero().
__device__ __forceinline__ Step StepOf(char* memory, int i) {
  char* base = memory + OpaqueZero();
  StepShared& shared = *reinterpret_cast<StepShared*>(base);
  return {shared.params, shared.layer[i % 2], shared, base + AlignUp(sizeof(StepShared), 128)};
}

__global__ void __launch_bounds__(kStepThreads, 1) StepKernel(const __grid_constant__ StepParams params) {
  extern __shared__ __align__(128) char memory[];
  {
    StepShared& shared = *reinterpret_cast<StepShared*>(memory);
    LoadParams(params, &shared.params);
    StartLoad(params.layers, &shared.layer[0]);
    FinishLoads();
    __syncthreads();
  }
  GridBarrier barrier(params.barrier, params.barrier_base);
  InputsPhase inputs;
  inputs.Start(StepOf(memory, 0));
  for (int i = 0; i < params.n_layers; ++i) {
    const Step s = StepOf(memory, i);
    const bool more = i + 1 < params.n_layers;
    const Staged x = i == 0 ? StageEmbedding(s) : StageHidden(s, s.l.input_norm);
    inputs.Finish(s, x);
    if (s.l.is_kda) MixKda(s, barrier);
    else MixMla(s, barrier);
    if (more) StartLoad(params.layers + i + 1, &s.shared.layer[(i + 1) % 2]);
    if (s.l.is_moe) FeedExperts(s, barrier);
    else FeedDense(s, barrier);
    if (!more) break;
    FinishLoads();
    barrier.Sync([&] {
      const Step next = StepOf(memory, i + 1);
      inputs.Start(next);
      for (int j = 0; j < next.l.inputs.count; ++j) Prefetch(next.l.inputs.weight[j]);
    });
  }
  HeadPhase head;
  const Step s = StepOf(memory, 0);
  barrier.Sync([&] { head.Start(s); });
  head.Finish(s);
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
    RILL_ASSIGN_OR_RETURN(memory_, PrepareStep(device_, spec, &params_, &shared_bytes_));
    RILL_RETURN_IF_ERROR(AllowShared(device_, StepKernel, shared_bytes_, "fused decode step"));
    grid_ = static_cast<unsigned>(device_.sm_count());
    n_barriers_ = CountBarriers(spec);
    max_context_ = spec.max_context;
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

absl::StatusOr<Buffer> PrepareStep(CudaDevice& device, const DecoderSpec& spec, StepParams* params, size_t* shared_bytes) {
  params->stages = PhaseBytes(spec, 2) <= device.max_shared_bytes() ? 2 : 1;
  *shared_bytes = PhaseBytes(spec, params->stages);
  RILL_ASSIGN_OR_RETURN(Buffer memory, Buffer::Allocate(device, FusedDecoderBytes(spec)));
  char* base = memory.as<char>();
  RILL_RETURN_IF_ERROR(device.Fill(base, 0, kBarrierBytes));
  std::vector<StepLayer> layers;
  for (size_t i = 0; i < spec.layers.size(); ++i) layers.push_back(MakeStepLayer(spec.layers[i], spec.states[i]));
  RILL_RETURN_IF_ERROR(device.CopyIn(base + kBarrierBytes, layers.data(), layers.size() * sizeof(StepLayer)));
  params->layers = reinterpret_cast<const StepLayer*>(base + kBarrierBytes);
  params->n_layers = static_cast<int>(layers.size());
  params->hidden = static_cast<int>(spec.hidden), params->vocab = static_cast<int>(spec.vocab);
  params->norm_eps = spec.norm_eps;
  params->embedding = spec.embedding, params->lm_head = spec.lm_head;
  params->final_norm = spec.final_norm.f32(), params->logits = spec.logits.f32();
  params->scratch = PlaceScratch(MeasureScratch(spec), base + kBarrierBytes + LayersBytes(spec));
  params->barrier = memory.as<unsigned>();
  params->staged_bytes = static_cast<int>(StagedBytes(spec.hidden));
  return memory;
}

absl::StatusOr<std::unique_ptr<FusedDecoder>> MakeFusedDecoder(Device& device, const DecoderSpec& spec) {
  return CudaDecoder::Make(Cast(device), spec);
}

uint64_t FusedDecoderBytes(const DecoderSpec& spec) {
  return kBarrierBytes + LayersBytes(spec) + ScratchBytes(MeasureScratch(spec));
}

}  // namespace rill::cuda
