// tests/support/tiny_checkpoint.h — Hugging Face checkpoints of any small shape, made from a seed,
// written as a folder.
//
// Names and shapes are spelled out here once more, from the released checkpoint, on purpose: what
// the converter believes is tested against what this file says.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "nlohmann/json.hpp"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace rill::test {

struct TinyShape {
  int64_t vocab = 48, hidden = 32;
  std::string mixers = "KKMK";  // K or M, a letter for each layer
  int64_t dense_layers = 1, dense_width = 40;
  int64_t kda_heads = 2, kda_dim = 16, conv_width = 4;
  int64_t mla_heads = 2, nope = 16, rope = 8, v_dim = 16, kv_rank = 24, q_rank = 0;
  int64_t experts = 4, experts_per_token = 2, expert_width = 24, shared = 1, groups = 1,
          topk_groups = 1;
  bool tied = false;
  std::string dtype = "BF16";       // of everything but A_log and dt_bias
  std::string small_dtype = "F32";  // of A_log and dt_bias
  bool flat_a_log = false;          // [H] for [1, 1, H, 1]
  bool flat_conv = false;           // [C, W] for [C, 1, W]
};

class TinyCheckpoint {
 public:
  nlohmann::ordered_json config;
  std::map<std::string, StoredTensor> tensors;

  TinyCheckpoint(const TinyShape& shape, uint64_t seed) : s_(shape), random_(seed) {
    MakeConfig();
    Add("model.embed_tokens.weight", {s_.vocab, s_.hidden});
    Add("model.norm.weight", {s_.hidden});
    if (!s_.tied) Add("lm_head.weight", {s_.vocab, s_.hidden});
    for (size_t l = 0; l < s_.mixers.size(); ++l) AddLayer(static_cast<int64_t>(l));
  }

  // Writes config.json and `n_shards` files; more than one are named as the released ones are.
  void Write(const std::string& folder, int n_shards = 1, bool with_index = false) const {
    WriteFile(folder + "/config.json", config.dump(1));
    std::vector<SafetensorsWriter> shards(n_shards);
    nlohmann::ordered_json weight_map;
    size_t i = 0;
    for (const auto& [name, tensor] : tensors) {
      const int shard = static_cast<int>(i++ * 7 % n_shards);  // neighbours lie in different shards
      shards[shard].Add(name, tensor);
      weight_map[name] = ShardName(shard, n_shards);
    }
    for (int s = 0; s < n_shards; ++s) shards[s].Write(folder + "/" + ShardName(s, n_shards));
    const nlohmann::ordered_json index = {{"metadata", {{"total_size", 1}}},
                                          {"weight_map", weight_map}};
    if (with_index) WriteFile(folder + "/model.safetensors.index.json", index.dump());
  }

  static std::string ShardName(int shard, int n_shards) {
    if (n_shards == 1) return "model.safetensors";
    char name[64];
    std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", shard + 1, n_shards);
    return name;
  }

  // A tensor of normally distributed values.
  StoredTensor Random(const std::string& dtype, const std::vector<int64_t>& shape,
                      float scale = 0.1f) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    std::normal_distribution<float> normal(0, scale);
    StoredTensor tensor{dtype, shape, ""};
    for (int64_t i = 0; i < n; ++i) Append(dtype, normal(random_), tensor.bytes);
    return tensor;
  }

  static void Append(const std::string& dtype, float value, std::string& bytes) {
    if (dtype == "F32") bytes.append(reinterpret_cast<const char*>(&value), 4);
    const uint16_t half = dtype == "BF16" ? ToBf16(value).bits : ToF16(value).bits;
    if (dtype == "BF16" || dtype == "F16") bytes.append(reinterpret_cast<const char*>(&half), 2);
  }

 private:
  void Add(const std::string& name, const std::vector<int64_t>& shape) {
    tensors[name] = Random(s_.dtype, shape);
  }

  void MakeConfig() {
    std::vector<int64_t> kda, mla;  // 1-based
    for (size_t l = 0; l < s_.mixers.size(); ++l) {
      (s_.mixers[l] == 'K' ? kda : mla).push_back(static_cast<int64_t>(l) + 1);
    }
    config = {{"model_type", "kimi_linear"},
              {"architectures", {"KimiLinearForCausalLM"}},
              {"hidden_act", "silu"},
              {"rms_norm_eps", 1e-5},
              {"vocab_size", s_.vocab},
              {"hidden_size", s_.hidden},
              {"intermediate_size", s_.dense_width},
              {"num_hidden_layers", s_.mixers.size()},
              {"num_attention_heads", s_.mla_heads},
              {"num_key_value_heads", s_.mla_heads},
              {"kv_lora_rank", s_.kv_rank},
              {"qk_nope_head_dim", s_.nope},
              {"qk_rope_head_dim", s_.rope},
              {"v_head_dim", s_.v_dim},
              {"mla_use_nope", true},
              {"rope_theta", 10000.0},
              {"rope_scaling", nullptr},
              {"first_k_dense_replace", s_.dense_layers},
              {"moe_layer_freq", 1},
              {"num_experts", s_.experts},
              {"num_experts_per_token", s_.experts_per_token},
              {"num_shared_experts", s_.shared},
              {"moe_intermediate_size", s_.expert_width},
              {"moe_router_activation_func", "sigmoid"},
              {"moe_renormalize", true},
              {"routed_scaling_factor", 2.446},
              {"use_grouped_topk", true},
              {"num_expert_group", s_.groups},
              {"topk_group", s_.topk_groups},
              {"tie_word_embeddings", s_.tied},
              {"model_max_length", 4096},
              {"bos_token_id", 1},
              {"eos_token_id", 2},
              {"pad_token_id", 0},
              {"torch_dtype", "bfloat16"}};
    config["q_lora_rank"] =
        s_.q_rank == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(s_.q_rank);
    config["linear_attn_config"] = {{"full_attn_layers", mla},
                                    {"kda_layers", kda},
                                    {"head_dim", s_.kda_dim},
                                    {"num_heads", s_.kda_heads},
                                    {"short_conv_kernel_size", s_.conv_width}};
  }

  void AddLayer(int64_t l) {
    const std::string p = "model.layers." + std::to_string(l) + ".";
    Add(p + "input_layernorm.weight", {s_.hidden});
    Add(p + "post_attention_layernorm.weight", {s_.hidden});
    if (s_.mixers[l] == 'K')
      AddKda(p + "self_attn.");
    else
      AddMla(p + "self_attn.");
    if (l < s_.dense_layers)
      AddFfn(p + "mlp.", s_.dense_width);
    else
      AddMoe(p + "block_sparse_moe.");
  }

  void AddKda(const std::string& p) {
    const int64_t width = s_.kda_heads * s_.kda_dim;
    for (const char* x : {"q", "k", "v"}) {
      Add(p + x + "_proj.weight", {width, s_.hidden});
      Add(p + x + "_conv1d.weight", s_.flat_conv ? std::vector<int64_t>{width, s_.conv_width}
                                                 : std::vector<int64_t>{width, 1, s_.conv_width});
    }
    for (const char* x : {"f", "g"}) {
      Add(p + x + "_a_proj.weight", {s_.kda_dim, s_.hidden});
      Add(p + x + "_b_proj.weight", {width, s_.kda_dim});
    }
    Add(p + "b_proj.weight", {s_.kda_heads, s_.hidden});
    tensors[p + "A_log"] = Random(s_.small_dtype,
                                  s_.flat_a_log ? std::vector<int64_t>{s_.kda_heads}
                                                : std::vector<int64_t>{1, 1, s_.kda_heads, 1},
                                  1);
    tensors[p + "dt_bias"] = Random(s_.small_dtype, {width}, 1);
    Add(p + "o_norm.weight", {s_.kda_dim});
    Add(p + "o_proj.weight", {s_.hidden, width});
  }

  void AddMla(const std::string& p) {
    const int64_t q = s_.mla_heads * (s_.nope + s_.rope);
    if (s_.q_rank == 0) {
      Add(p + "q_proj.weight", {q, s_.hidden});
    } else {
      Add(p + "q_a_proj.weight", {s_.q_rank, s_.hidden});
      Add(p + "q_a_layernorm.weight", {s_.q_rank});
      Add(p + "q_b_proj.weight", {q, s_.q_rank});
    }
    Add(p + "kv_a_proj_with_mqa.weight", {s_.kv_rank + s_.rope, s_.hidden});
    Add(p + "kv_a_layernorm.weight", {s_.kv_rank});
    Add(p + "kv_b_proj.weight", {s_.mla_heads * (s_.nope + s_.v_dim), s_.kv_rank});
    Add(p + "o_proj.weight", {s_.hidden, s_.mla_heads * s_.v_dim});
  }

  void AddFfn(const std::string& p, int64_t width) {
    Add(p + "gate_proj.weight", {width, s_.hidden});
    Add(p + "up_proj.weight", {width, s_.hidden});
    Add(p + "down_proj.weight", {s_.hidden, width});
  }

  void AddMoe(const std::string& p) {
    Add(p + "gate.weight", {s_.experts, s_.hidden});
    Add(p + "gate.e_score_correction_bias", {s_.experts});
    if (s_.shared > 0) AddFfn(p + "shared_experts.", s_.shared * s_.expert_width);
    for (int64_t e = 0; e < s_.experts; ++e) {
      const std::string expert = p + "experts." + std::to_string(e) + ".";
      Add(expert + "w1.weight", {s_.expert_width, s_.hidden});
      Add(expert + "w3.weight", {s_.expert_width, s_.hidden});
      Add(expert + "w2.weight", {s_.hidden, s_.expert_width});
    }
  }

  TinyShape s_;
  std::mt19937_64 random_;
};

// The values of a tensor as floats.
inline std::vector<float> Floats(const StoredTensor& t) {
  std::vector<float> values;
  const size_t size = t.dtype == "F32" ? 4 : 2;
  for (size_t i = 0; i + size <= t.bytes.size(); i += size) {
    uint32_t wide = 0;
    std::memcpy(&wide, t.bytes.data() + i, size);
    const auto narrow = static_cast<uint16_t>(wide);
    values.push_back(t.dtype == "F32"    ? BitsToFloat(wide)
                     : t.dtype == "BF16" ? ToFloat(Bf16{narrow})
                                         : ToFloat(F16{narrow}));
  }
  return values;
}

}  // namespace rill::test
