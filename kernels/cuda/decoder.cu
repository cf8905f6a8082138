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

constexpr uint64_t kBarrierBytes = 256;  // alone on its cache lines

uint64_t LayersBytes(const DecoderSpec& spec) { return AlignUp(spec.layers.size() * sizeof(StepLayer), 256); }

const void* KernelOf(WeightFormat format, bool wgmma) {
  switch (format) {
    case WeightFormat::kF32: return StepKernelAddress<WeightFormat::kF32>(wgmma);
    case WeightFormat::kBf16: return StepKernelAddress<WeightFormat::kBf16>(wgmma);
    case WeightFormat::kQ8: return StepKernelAddress<WeightFormat::kQ8>(wgmma);
    case WeightFormat::kQ4: return StepKernelAddress<WeightFormat::kQ4>(wgmma);
  }
  return nullptr;
}

absl::Status PlaceSharedOf(const CudaDevice& d, const DecoderSpec& spec, StepParams* params, size_t* bytes) {
  switch (FormatOf(spec)) {
    case WeightFormat::kF32: return PlaceShared<WeightFormat::kF32>(d, spec, params, bytes);
    case WeightFormat::kBf16: return PlaceShared<WeightFormat::kBf16>(d, spec, params, bytes);
    case WeightFormat::kQ8: return PlaceShared<WeightFormat::kQ8>(d, spec, params, bytes);
    case WeightFormat::kQ4: return PlaceShared<WeightFormat::kQ4>(d, spec, params, bytes);
  }
  return absl::InternalError("unknown weight format");
}

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
    PlaceStep(position, &params_);
    void* args[] = {&params_};
    RILL_RETURN_IF_ERROR(device_.Take(
        cudaLaunchCooperativeKernel(position < params_.wgmma_from ? kernel_ : wgmma_kernel_, dim3(grid_), dim3(kBlockThreads), args,
                                    shared_bytes_, device_.stream()),
        "fused decode step"));
    AdvanceParams(counts_, grid_, &params_);
    return absl::OkStatus();
  }

  uint64_t device_bytes() const override { return memory_.bytes(); }

 private:
  explicit CudaDecoder(CudaDevice& d) : device_(d) {}

  absl::Status Setup(const DecoderSpec& spec) {
    RILL_ASSIGN_OR_RETURN(memory_, PrepareStep(device_, spec, &params_, &shared_bytes_));
    kernel_ = KernelOf(FormatOf(spec), false), wgmma_kernel_ = KernelOf(FormatOf(spec), true);
    RILL_RETURN_IF_ERROR(AllowShared(device_, kernel_, shared_bytes_, "fused decode step"));
    grid_ = static_cast<unsigned>(device_.sm_count());
    if (params_.wgmma_from != kNever) RILL_RETURN_IF_ERROR(AllowShared(device_, wgmma_kernel_, shared_bytes_, "fused decode step"));
    counts_ = CountStep(spec);
    max_context_ = spec.max_context;
    return absl::OkStatus();
  }

  CudaDevice& device_;
  Buffer memory_;
  StepParams params_ = {};
  const void *kernel_ = nullptr, *wgmma_kernel_ = nullptr;
  size_t shared_bytes_ = 0;
  unsigned grid_ = 0;
  StepCounts counts_ = {};
  int64_t max_context_ = 0;
};

}  // namespace

absl::StatusOr<Buffer> PrepareStep(CudaDevice& device, const DecoderSpec& spec, StepParams* params, size_t* shared_bytes) {
  RILL_RETURN_IF_ERROR(PlaceSharedOf(device, spec, params, shared_bytes));
  RILL_ASSIGN_OR_RETURN(Buffer memory, Buffer::Allocate(device, FusedDecoderBytes(spec)));
  char* base = memory.as<char>();
  RILL_RETURN_IF_ERROR(device.Fill(base, 0, memory.bytes()));  // no barrier counted, no mark set
  const std::vector<StepLayer> layers = MakeStepLayers(spec, device.sm_count(), *params);
  RILL_RETURN_IF_ERROR(device.CopyIn(base + kBarrierBytes, layers.data(), layers.size() * sizeof(StepLayer)));
  params->layers = reinterpret_cast<const StepLayer*>(base + kBarrierBytes);
  params->n_layers = static_cast<int>(layers.size());
  params->hidden = static_cast<int>(spec.hidden), params->vocab = static_cast<int>(spec.vocab);
  params->norm_eps = spec.norm_eps;
  params->head_window = PassRows(params->max_units, 1, spec.hidden, 1);
  params->per_block = (uint64_t{1} << 40) / static_cast<uint64_t>(device.sm_count()) + 1;
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
  if (!CheckSpec(spec).ok()) return 0;  // the device will make no decoder
  return kBarrierBytes + LayersBytes(spec) + ScratchBytes(MeasureScratch(spec));
}

}  // namespace rill::cuda
