#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/base/status.h"
#include "model/format/container.h"
#include "model/weights/tensor_table.h"

namespace rill {
namespace {

// Far above any model there is, and low enough that no product of three of them leaves 64 bits.
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxTopK = 64;  // the routers keep their choice on the stack
constexpr int64_t kMaxContext = int64_t{1} << 40;

absl::Status InRange(absl::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", expected ", low, " to ", high));
}

absl::Status MultipleOf(absl::string_view field, int64_t value, int64_t unit) {
  if (value % unit == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", expected a multiple of ", unit));
}

// The negated comparison also refuses NaN.
absl::Status InOpenRange(absl::string_view field, float value, float low, float high) {
  if (value > low && value < high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", expected more than ", low, " and less than ", high));
}

absl::Status ValidateLayers(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("number of layers", c.n_layers(), 1, kMaxLayers));
  for (int64_t l = 0; l < c.n_layers(); ++l) {
    const LayerKind& kind = c.layers[l];
    if (kind.mixer != MixerKind::kKda && kind.mixer != MixerKind::kMla) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", l, ": mixer is ",
                                                     static_cast<int>(kind.mixer),
                                                     ", expected 0 (KDA) or 1 (MLA)"));
    }
    if (kind.ffn != FfnKind::kDense && kind.ffn != FfnKind::kMoe) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", l, ": feed-forward is ",
                                                     static_cast<int>(kind.ffn),
                                                     ", expected 0 (dense) or 1 (MoE)"));
    }
  }
  return absl::OkStatus();
}

// Also for the parts that no layer uses, so that arithmetic on any validated config stays inside 64
// bits.
absl::Status ValidateSizes(const ModelConfig& c) {
  const std::pair<absl::string_view, int64_t> sizes[] = {
      {"kda_heads", c.kda_heads},
      {"kda_head_dim", c.kda_head_dim},
      {"conv_width", c.conv_width},
      {"kda_gate_rank", c.kda_gate_rank},
      {"mla_heads", c.mla_heads},
      {"q_lora_rank", c.q_lora_rank},
      {"kv_lora_rank", c.kv_lora_rank},
      {"qk_nope_dim", c.qk_nope_dim},
      {"qk_rope_dim", c.qk_rope_dim},
      {"v_head_dim", c.v_head_dim},
      {"dense_width", c.dense_width},
      {"n_experts", c.n_experts},
      {"expert_width", c.expert_width},
      {"experts_per_token", c.experts_per_token},
      {"router_groups", c.router_groups},
      {"router_topk_groups", c.router_topk_groups},
      {"n_shared_experts", c.n_shared_experts}};
  for (const auto& [field, value] : sizes)
    RILL_RETURN_IF_ERROR(InRange(field, value, 0, kMaxWidth));
  return absl::OkStatus();
}

absl::Status ValidateKda(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("kda_heads", c.kda_heads, 1, kMaxHeads));
  RILL_RETURN_IF_ERROR(InRange("kda_head_dim", c.kda_head_dim, 16, 256));
  RILL_RETURN_IF_ERROR(MultipleOf("kda_head_dim", c.kda_head_dim, 16));
  RILL_RETURN_IF_ERROR(InRange("conv_width", c.conv_width, 2, 8));
  return InRange("kda_gate_rank", c.kda_gate_rank, 1, kMaxWidth);
}

absl::Status ValidateMla(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("mla_heads", c.mla_heads, 1, kMaxHeads));
  RILL_RETURN_IF_ERROR(InRange("q_lora_rank", c.q_lora_rank, 0, kMaxWidth));
  RILL_RETURN_IF_ERROR(InRange("kv_lora_rank", c.kv_lora_rank, 1, kMaxHeadDim));
  RILL_RETURN_IF_ERROR(InRange("qk_nope_dim", c.qk_nope_dim, 1, kMaxHeadDim));
  RILL_RETURN_IF_ERROR(InRange("qk_rope_dim", c.qk_rope_dim, 0, kMaxHeadDim));
  RILL_RETURN_IF_ERROR(InRange("v_head_dim", c.v_head_dim, 1, kMaxHeadDim));
  return InOpenRange("kv_norm_eps", c.kv_norm_eps, 0.0f, 1.0f);
}

absl::Status ValidateMoe(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("n_experts", c.n_experts, 1, kMaxExperts));
  RILL_RETURN_IF_ERROR(
      InRange("experts_per_token", c.experts_per_token, 1, std::min(c.n_experts, kMaxTopK)));
  RILL_RETURN_IF_ERROR(InRange("expert_width", c.expert_width, 1, kMaxWidth));
  RILL_RETURN_IF_ERROR(InRange("n_shared_experts", c.n_shared_experts, 0, 64));
  RILL_RETURN_IF_ERROR(InRange("router_groups", c.router_groups, 1, c.n_experts));
  if (c.n_experts % c.router_groups != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "router_groups is ", c.router_groups, ", expected a divisor of n_experts = ", c.n_experts));
  }
  RILL_RETURN_IF_ERROR(InRange("router_topk_groups", c.router_topk_groups, 1, c.router_groups));
  const int64_t eligible = c.n_experts / c.router_groups * c.router_topk_groups;
  if (c.experts_per_token > eligible) {
    return absl::InvalidArgumentError(
        absl::StrCat("experts_per_token is ", c.experts_per_token, ", but ", c.router_topk_groups,
                     " of ", c.router_groups, " groups hold only ", eligible, " experts"));
  }
  if (c.router_activation != RouterActivation::kSigmoid &&
      c.router_activation != RouterActivation::kSoftmax) {
    return absl::InvalidArgumentError(absl::StrCat("router_activation is ",
                                                   static_cast<int>(c.router_activation),
                                                   ", expected 0 (sigmoid) or 1 (softmax)"));
  }
  return InOpenRange("router_scaling", c.router_scaling, 0.0f, 1e6f);
}

absl::Status ValidateTokens(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("bos_token", c.bos_token, -1, c.vocab_size - 1));
  RILL_RETURN_IF_ERROR(InRange("eos_token", c.eos_token, -1, c.vocab_size - 1));
  return InRange("pad_token", c.pad_token, -1, c.vocab_size - 1);
}

bool HasFfn(const ModelConfig& c, FfnKind kind) {
  for (const LayerKind& layer : c.layers) {
    if (layer.ffn == kind) return true;
  }
  return false;
}

int64_t CountMixers(const ModelConfig& c, MixerKind kind) {
  int64_t n = 0;
  for (const LayerKind& layer : c.layers) n += layer.mixer == kind;
  return n;
}

}  // namespace

int64_t ModelConfig::n_kda_layers() const { return CountMixers(*this, MixerKind::kKda); }
int64_t ModelConfig::n_mla_layers() const { return CountMixers(*this, MixerKind::kMla); }

float ModelConfig::kda_scale() const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(kda_head_dim)));
}

float ModelConfig::mla_scale() const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(qk_nope_dim + qk_rope_dim)));
}

absl::Status Validate(const ModelConfig& c) {
  RILL_RETURN_IF_ERROR(InRange("vocab_size", c.vocab_size, 1, kMaxVocab));
  RILL_RETURN_IF_ERROR(InRange("hidden_size", c.hidden_size, 1, kMaxWidth));
  RILL_RETURN_IF_ERROR(InOpenRange("rms_norm_eps", c.rms_norm_eps, 0.0f, 1.0f));
  RILL_RETURN_IF_ERROR(InRange("max_context", c.max_context, 1, kMaxContext));
  RILL_RETURN_IF_ERROR(ValidateLayers(c));
  RILL_RETURN_IF_ERROR(ValidateSizes(c));
  if (c.n_kda_layers() > 0) RILL_RETURN_IF_ERROR(ValidateKda(c));
  if (c.n_mla_layers() > 0) RILL_RETURN_IF_ERROR(ValidateMla(c));
  if (HasFfn(c, FfnKind::kDense))
    RILL_RETURN_IF_ERROR(InRange("dense_width", c.dense_width, 1, kMaxWidth));
  if (HasFfn(c, FfnKind::kMoe)) RILL_RETURN_IF_ERROR(ValidateMoe(c));
  RILL_RETURN_IF_ERROR(ValidateTokens(c));
  return InRange("number of tensors", CountTensors(c), 1, kMaxTensors);
}

ModelConfig KimiLinear48B(int64_t n_experts) {
  ModelConfig c;
  c.vocab_size = 163840;
  c.hidden_size = 2304;
  c.max_context = 1048576;
  for (int layer = 1; layer <= 27; ++layer) {
    const bool mla = layer % 4 == 0 || layer == 27;
    c.layers.push_back(
        {mla ? MixerKind::kMla : MixerKind::kKda, layer == 1 ? FfnKind::kDense : FfnKind::kMoe});
  }
  c.kda_heads = 32;
  c.kda_head_dim = 128;
  c.kda_gate_rank = 128;
  c.mla_heads = 32;
  c.kv_lora_rank = 512;
  c.qk_nope_dim = 128;
  c.qk_rope_dim = 64;
  c.v_head_dim = 128;
  c.dense_width = 9216;
  c.n_experts = n_experts;
  c.experts_per_token = std::min<int64_t>(8, n_experts);
  c.expert_width = 1024;
  c.n_shared_experts = 1;
  c.router_scaling = 2.446f;
  c.bos_token = 163584;
  c.eos_token = 163586;
  c.pad_token = 163839;
  return c;
}

}  // namespace rill
