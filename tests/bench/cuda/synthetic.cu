#include "tests/bench/cuda/synthetic.h"

#include <cmath>

#include "kernels/base/status.h"
#include "kernels/cuda/cuda_device.h"

namespace rill::bench {
namespace {

constexpr int64_t kHidden = 2304, kVocab = 163840, kHeads = 32, kHeadDim = 128, kRank = 128, kTaps = 4;
constexpr int64_t kNope = 128, kRope = 64, kValue = 128, kLatent = 512;
constexpr int64_t kWidth = 1024, kDenseWidth = 9216;
constexpr int kLayers = 27;

__device__ uint32_t Hash(uint64_t i, uint32_t seed) {
  uint64_t z = i * 0x9E3779B97F4A7C15ull + seed * 0xD1B54A32D192ED03ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(z >> 32);
}
__device__ float Uniform(uint32_t bits, float low, float high) { return low + (high - low) * (bits >> 8) * (1.0f / 16777216.0f); }

__global__ void FillBits(uint32_t* p, int64_t n, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) p[i] = Hash(i, seed);
}
__global__ void FillFloats(float* p, int64_t n, float low, float high, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) p[i] = Uniform(Hash(i, seed), low, high);
}
template <bool kBrain>
__global__ void FillHalves(uint16_t* p, int64_t n, float low, float high, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) {
    const float x = Uniform(Hash(i, seed), low, high);
    p[i] = kBrain ? ToBf16(x).bits : ToF16(x).bits;
  }
}

constexpr int kBlocks = 1024, kThreads = 256;

}  // namespace

absl::StatusOr<std::unique_ptr<Synthetic>> Synthetic::Make(Device& device, const SyntheticOptions& options) {
  std::unique_ptr<Synthetic> model(new Synthetic(device));
  RILL_RETURN_IF_ERROR(model->Build(options));
  RILL_RETURN_IF_ERROR(device.Synchronize());
  return model;
}

DecoderSpec Synthetic::spec(int i) const {
  DecoderSpec spec = spec_;
  spec.layers = layers_;
  spec.states = states_[i];
  return spec;
}

absl::StatusOr<void*> Synthetic::Bytes(size_t bytes) {
  RILL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::Allocate(device_, bytes));
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data();
}

absl::StatusOr<TensorView> Synthetic::Floats(int64_t n, float low, float high) {
  RILL_ASSIGN_OR_RETURN(void* p, Bytes(n * sizeof(float)));
  FillFloats<<<kBlocks, kThreads, 0, cuda::Cast(device_).stream()>>>(static_cast<float*>(p), n, low, high, seed_++);
  return F32View(static_cast<float*>(p), n);
}

absl::Status Synthetic::Fill(const MatrixView& m) {
  const cudaStream_t stream = cuda::Cast(device_).stream();
  const float spread = 1.7f / std::sqrt(static_cast<float>(m.cols));
  if (m.format == WeightFormat::kBf16) {
    FillHalves<true><<<kBlocks, kThreads, 0, stream>>>(static_cast<uint16_t*>(const_cast<void*>(m.values)), m.rows * m.cols, -spread, spread, seed_++);
  } else {
    FillBits<<<kBlocks, kThreads, 0, stream>>>(static_cast<uint32_t*>(const_cast<void*>(m.values)), ValuesBytes(m.format, m.rows, m.cols) / 4, seed_++);
    const float scale = spread / (m.format == WeightFormat::kQ4 ? 8 : 128);
    FillHalves<false><<<kBlocks, kThreads, 0, stream>>>(static_cast<uint16_t*>(const_cast<void*>(m.scales)), ScalesBytes(m.format, m.rows, m.cols) / 2,
                                                      0.8f * scale, 1.2f * scale, seed_++);
  }
  return cuda::Cast(device_).Launched("fill");
}

absl::StatusOr<MatrixView> Synthetic::Matrix(WeightFormat format, int64_t rows, int64_t cols) {
  RILL_ASSIGN_OR_RETURN(void* p, Bytes(MatrixBytes(format, rows, cols)));
  const MatrixView m = BindMatrix(format, rows, cols, p);
  RILL_RETURN_IF_ERROR(Fill(m));
  token_bytes_ += MatrixBytes(format, rows, cols);
  return m;
}

absl::Status Synthetic::AddKda(LayerWeights& layer) {
  KdaWeights& w = layer.kda;
  const int64_t C = kHeads * kHeadDim;
  w = {kHeads, kHeadDim, kTaps, kRank, 1 / std::sqrt(static_cast<float>(kHeadDim)), 1e-5f};
  for (MatrixView* m : {&w.q, &w.k, &w.v}) {
    RILL_ASSIGN_OR_RETURN(*m, Matrix(options_.format, C, kHidden));
  }
  for (MatrixView* m : {&w.f_a, &w.g_a}) {
    RILL_ASSIGN_OR_RETURN(*m, Matrix(WeightFormat::kBf16, kRank, kHidden));
  }
  for (MatrixView* m : {&w.f_b, &w.g_b}) {
    RILL_ASSIGN_OR_RETURN(*m, Matrix(WeightFormat::kBf16, C, kRank));
  }
  RILL_ASSIGN_OR_RETURN(w.b, Matrix(WeightFormat::kBf16, kHeads, kHidden));
  RILL_ASSIGN_OR_RETURN(w.o, Matrix(options_.format, kHidden, C));
  for (TensorView* t : {&w.conv_q, &w.conv_k, &w.conv_v}) {
    RILL_ASSIGN_OR_RETURN(*t, Floats(C * kTaps, -0.5f, 0.5f));
  }
  RILL_ASSIGN_OR_RETURN(w.a_log, Floats(kHeads, 0, 2));
  RILL_ASSIGN_OR_RETURN(w.dt_bias, Floats(C, -6, -2));
  RILL_ASSIGN_OR_RETURN(w.o_norm, Floats(kHeadDim, 0.5f, 1.5f));
  return absl::OkStatus();
}

absl::Status Synthetic::AddMla(LayerWeights& layer) {
  MlaWeights& w = layer.mla;
  w = {{kHeads, kNope, kRope, kValue, kLatent}, 1 / std::sqrt(static_cast<float>(kNope + kRope)), 1e-6f, 0};
  RILL_ASSIGN_OR_RETURN(w.q, Matrix(options_.format, kHeads * (kNope + kRope), kHidden));
  RILL_ASSIGN_OR_RETURN(w.kv_a, Matrix(options_.format, kLatent + kRope, kHidden));
  RILL_ASSIGN_OR_RETURN(w.kv_norm, Floats(kLatent, 0.5f, 1.5f));
  RILL_ASSIGN_OR_RETURN(w.kv_b, Matrix(options_.format, kHeads * (kNope + kValue), kLatent));
  RILL_ASSIGN_OR_RETURN(w.o, Matrix(options_.format, kHidden, kHeads * kValue));
  return absl::OkStatus();
}

absl::Status Synthetic::AddGlu(GluWeights& w, int64_t width) {
  w.width = width;
  RILL_ASSIGN_OR_RETURN(w.gate, Matrix(options_.format, width, kHidden));
  RILL_ASSIGN_OR_RETURN(w.up, Matrix(options_.format, width, kHidden));
  RILL_ASSIGN_OR_RETURN(w.down, Matrix(options_.format, kHidden, width));
  return absl::OkStatus();
}

absl::Status Synthetic::AddMoe(MoeWeights& w) {
  w.activation = RouterActivation::kSigmoid;
  w.top_k = 8, w.n_groups = 1, w.topk_groups = 1, w.renormalize = true, w.scaling = 2.446f;
  RILL_ASSIGN_OR_RETURN(w.router, Matrix(WeightFormat::kBf16, options_.n_experts, kHidden));
  RILL_ASSIGN_OR_RETURN(w.router_bias, Floats(options_.n_experts, -0.1f, 0.1f));
  RILL_RETURN_IF_ERROR(AddGlu(w.shared, kWidth));
  const ExpertLayout layout = MakeExpertLayout(options_.format, kHidden, kWidth);
  RILL_ASSIGN_OR_RETURN(void* slab, Bytes(layout.bytes * options_.n_experts));
  std::vector<void*> records;
  for (int e = 0; e < options_.n_experts; ++e) {
    char* record = static_cast<char*>(slab) + e * layout.bytes;
    records.push_back(record);
    RILL_RETURN_IF_ERROR(Fill(BindMatrix(options_.format, kWidth, kHidden, record + layout.gate)));
    RILL_RETURN_IF_ERROR(Fill(BindMatrix(options_.format, kWidth, kHidden, record + layout.up)));
    RILL_RETURN_IF_ERROR(Fill(BindMatrix(options_.format, kHidden, kWidth, record + layout.down)));
  }
  token_bytes_ += w.top_k * layout.bytes;
  RILL_ASSIGN_OR_RETURN(void* table, Bytes(records.size() * sizeof(void*)));
  RILL_RETURN_IF_ERROR(device_.CopyIn(table, records.data(), records.size() * sizeof(void*)));
  w.experts = {options_.format, options_.n_experts, kHidden, kWidth, static_cast<const void* const*>(table)};
  return absl::OkStatus();
}

absl::Status Synthetic::AddStates(int sessions) {
  const int64_t C = kHeads * kHeadDim;
  states_.resize(sessions);
  for (auto& states : states_) {
    for (const LayerWeights& w : layers_) {
      DecoderLayerState state;
      if (w.is_kda) {
        RILL_ASSIGN_OR_RETURN(state.kda_state, Floats(C * kHeadDim, -0.1f, 0.1f));
        RILL_ASSIGN_OR_RETURN(state.conv_tail, Floats(3 * C * (kTaps - 1), -1, 1));
      }
      states.push_back(state);
    }
  }
  return absl::OkStatus();
}

absl::Status Synthetic::AddCache(int64_t context) {
  int n_mla = 0;
  for (const LayerWeights& w : layers_) n_mla += !w.is_kda;
  const size_t layer_bytes = kPageTokens * (kLatent + kRope) * 2, page_bytes = n_mla * layer_bytes;
  const int64_t n_pages = CeilDiv(context, kPageTokens);
  RILL_ASSIGN_OR_RETURN(void* slab, Bytes(page_bytes * n_pages));
  FillHalves<true><<<kBlocks, kThreads, 0, cuda::Cast(device_).stream()>>>(static_cast<uint16_t*>(slab), page_bytes * n_pages / 2, -1.7f, 1.7f, seed_++);
  std::vector<void*> pages;
  for (int64_t i = 0; i < n_pages; ++i) pages.push_back(static_cast<char*>(slab) + i * page_bytes);
  RILL_ASSIGN_OR_RETURN(void* table, Bytes(pages.size() * sizeof(void*)));
  RILL_RETURN_IF_ERROR(device_.CopyIn(table, pages.data(), pages.size() * sizeof(void*)));
  for (auto& states : states_) {
    size_t offset = 0;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (layers_[i].is_kda) continue;
      states[i].mla_cache = {DType::kBf16, kLatent, kRope, static_cast<void* const*>(table), offset};
      offset += layer_bytes;
    }
  }
  return absl::OkStatus();
}

absl::Status Synthetic::Build(const SyntheticOptions& options) {
  options_ = options;
  spec_.hidden = kHidden, spec_.vocab = kVocab, spec_.max_context = options.context, spec_.norm_eps = 1e-5f;
  RILL_ASSIGN_OR_RETURN(spec_.embedding, Matrix(options.format, kVocab, kHidden));
  token_bytes_ = 0;  // a token reads one row of it
  RILL_ASSIGN_OR_RETURN(spec_.lm_head, Matrix(options.format, kVocab, kHidden));
  RILL_ASSIGN_OR_RETURN(spec_.final_norm, Floats(kHidden, 0.5f, 1.5f));
  RILL_ASSIGN_OR_RETURN(spec_.logits, Floats(kVocab, 0, 1));
  spec_.logits = F32View(spec_.logits.f32(), 1, kVocab);
  for (int i = 0; i < kLayers; ++i) {
    LayerWeights w;
    w.is_kda = i % 4 != 3 && i != kLayers - 1;
    w.is_moe = i > 0;
    RILL_ASSIGN_OR_RETURN(w.input_norm, Floats(kHidden, 0.5f, 1.5f));
    RILL_ASSIGN_OR_RETURN(w.post_norm, Floats(kHidden, 0.5f, 1.5f));
    RILL_RETURN_IF_ERROR(w.is_kda ? AddKda(w) : AddMla(w));
    RILL_RETURN_IF_ERROR(w.is_moe ? AddMoe(w.moe) : AddGlu(w.dense, kDenseWidth));
    layers_.push_back(w);
  }
  RILL_RETURN_IF_ERROR(AddStates(options.sessions));
  return AddCache(options.context);
}

}  // namespace rill::bench
