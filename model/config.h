// model/config.h — the typed hyperparameters of a Kimi Linear model, checked once and trusted
// afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/ops/mla_decode.h"
#include "kernels/ops/router.h"

namespace rill {

enum class MixerKind : uint8_t { kKda = 0, kMla = 1 };
enum class FfnKind : uint8_t { kDense = 0, kMoe = 1 };

struct LayerKind {
  MixerKind mixer;
  FfnKind ffn;
};

struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  float rms_norm_eps = 1e-5f;
  bool tie_embeddings = false;
  int64_t max_context = 0;  // model_max_length; advice, not a limit of the state

  std::vector<LayerKind> layers;  // 0-based (the checkpoint's lists are 1-based)

  // KDA
  int64_t kda_heads = 0;
  int64_t kda_head_dim = 0;   // K = V
  int64_t conv_width = 4;     // W
  int64_t kda_gate_rank = 0;  // inner size of f_a/f_b and g_a/g_b

  // MLA
  int64_t mla_heads = 0;
  int64_t q_lora_rank = 0;  // 0: plain q projection
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_dim = 0;
  int64_t qk_rope_dim = 0;  // carried, never rotated (NoPE)
  int64_t v_head_dim = 0;
  float kv_norm_eps = 1e-6f;  // of kv_a_layernorm (and q_a_layernorm), not rms_norm_eps

  // Feed-forward
  int64_t dense_width = 0;  // intermediate_size
  int64_t n_experts = 0;    // 0: no MoE layer
  int64_t experts_per_token = 0;
  int64_t expert_width = 0;
  int64_t n_shared_experts = 0;  // fused into one block of n * expert_width; 0: none
  RouterActivation router_activation = RouterActivation::kSigmoid;
  bool router_renormalize = true;
  float router_scaling = 1.0f;
  int64_t router_groups = 1;
  int64_t router_topk_groups = 1;

  // Token ids; -1 when the checkpoint names none.
  int32_t bos_token = -1;
  int32_t eos_token = -1;
  int32_t pad_token = -1;

  int64_t n_layers() const { return static_cast<int64_t>(layers.size()); }
  int64_t n_kda_layers() const;
  int64_t n_mla_layers() const;
  int64_t kda_width() const { return kda_heads * kda_head_dim; }  // H * K
  int64_t mla_row() const { return kv_lora_rank + qk_rope_dim; }  // values of a cache row
  float kda_scale() const;                                        // K^-0.5
  float mla_scale() const;                                        // (nope + rope)^-0.5
  MlaShape mla_shape() const {
    return {mla_heads, qk_nope_dim, qk_rope_dim, v_head_dim, kv_lora_rank};
  }
};

// Reads a Hugging Face config.json. InvalidArgument names the field and its value (and the limit it
// broke): unknown model_type, layers that are in no list or in both, RoPE, biases, an activation
// other than SiLU, sizes out of range.
absl::StatusOr<ModelConfig> ParseHuggingFaceConfig(const std::string& json);

// The limits every config must keep, whatever it was read from.
absl::Status Validate(const ModelConfig& config);

// The full 48B-A3B shape, for planning and synthetic benchmarks; `n_experts` shrinks the routed
// experts.
ModelConfig KimiLinear48B(int64_t n_experts = 256);

}  // namespace rill
