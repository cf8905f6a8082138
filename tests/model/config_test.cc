// Configs: the released one, the golden ones, and every way to refuse one.
#include "model/config.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/says.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_config.h"

namespace rill {
namespace {

using test::Says;

using Json = nlohmann::json;

// The fields of the released config.json, values included.
Json Released() {
  Json j = Json::parse(R"({
    "architectures": ["KimiLinearForCausalLM"], "model_type": "kimi_linear", "dtype": "bfloat16",
    "vocab_size": 163840, "hidden_size": 2304, "num_hidden_layers": 27,
    "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 72,
    "intermediate_size": 9216, "hidden_act": "silu", "rms_norm_eps": 1e-05,
    "initializer_range": 0.02, "tie_word_embeddings": false, "model_max_length": 1048576,
    "use_cache": true, "bos_token_id": 163584, "eos_token_id": 163586, "pad_token_id": 163839,
    "rope_theta": 10000.0, "rope_scaling": null, "mla_use_nope": true, "q_lora_rank": null,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "linear_attn_config": {
      "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
      "kda_layers": [1,2,3,5,6,7,9,10,11,13,14,15,17,18,19,21,22,23,25,26],
      "head_dim": 128, "num_heads": 32, "short_conv_kernel_size": 4},
    "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_experts": 256,
    "num_experts_per_token": 8, "num_shared_experts": 1, "moe_intermediate_size": 1024,
    "moe_router_activation_func": "sigmoid", "moe_renormalize": true,
    "routed_scaling_factor": 2.446, "use_grouped_topk": true, "num_expert_group": 1,
    "topk_group": 1, "num_nextn_predict_layers": 0})");
  return j;
}

void ExpectEqual(const ModelConfig& a, const ModelConfig& b) {
#define RILL_EXPECT_SAME(field) EXPECT_EQ(a.field, b.field)
  RILL_EXPECT_SAME(vocab_size);
  RILL_EXPECT_SAME(hidden_size);
  RILL_EXPECT_SAME(rms_norm_eps);
  RILL_EXPECT_SAME(tie_embeddings);
  RILL_EXPECT_SAME(max_context);
  RILL_EXPECT_SAME(kda_heads);
  RILL_EXPECT_SAME(kda_head_dim);
  RILL_EXPECT_SAME(conv_width);
  RILL_EXPECT_SAME(kda_gate_rank);
  RILL_EXPECT_SAME(mla_heads);
  RILL_EXPECT_SAME(q_lora_rank);
  RILL_EXPECT_SAME(kv_lora_rank);
  RILL_EXPECT_SAME(qk_nope_dim);
  RILL_EXPECT_SAME(qk_rope_dim);
  RILL_EXPECT_SAME(v_head_dim);
  RILL_EXPECT_SAME(kv_norm_eps);
  RILL_EXPECT_SAME(dense_width);
  RILL_EXPECT_SAME(n_experts);
  RILL_EXPECT_SAME(experts_per_token);
  RILL_EXPECT_SAME(expert_width);
  RILL_EXPECT_SAME(n_shared_experts);
  RILL_EXPECT_SAME(router_activation);
  RILL_EXPECT_SAME(router_renormalize);
  RILL_EXPECT_SAME(router_scaling);
  RILL_EXPECT_SAME(router_groups);
  RILL_EXPECT_SAME(router_topk_groups);
  RILL_EXPECT_SAME(bos_token);
  RILL_EXPECT_SAME(eos_token);
  RILL_EXPECT_SAME(pad_token);
#undef RILL_EXPECT_SAME
  ASSERT_EQ(a.n_layers(), b.n_layers());
  for (int64_t l = 0; l < a.n_layers(); ++l) {
    EXPECT_EQ(a.layers[l].mixer, b.layers[l].mixer) << l;
    EXPECT_EQ(a.layers[l].ffn, b.layers[l].ffn) << l;
  }
}

TEST(HuggingFaceConfigTest, TheReleasedConfigIsThe48BShape) {
  const auto parsed = ParseHuggingFaceConfig(Released().dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ExpectEqual(*parsed, KimiLinear48B());
  EXPECT_EQ(parsed->n_kda_layers(), 20);
  EXPECT_EQ(parsed->n_mla_layers(), 7);
  EXPECT_EQ(parsed->mla_row(), 576);
  EXPECT_EQ(parsed->kda_width(), 4096);
  EXPECT_FLOAT_EQ(parsed->kda_scale(), 0.08838834764831845f);
  EXPECT_FLOAT_EQ(parsed->mla_scale(), 0.07216878364870322f);
}

TEST(HuggingFaceConfigTest, TheGoldenConfigs) {
  for (const char* name : {"tiny_a", "tiny_b"}) {
    const std::string path =
        std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name + "/config.json";
    const auto parsed = ParseHuggingFaceConfig(test::ReadFile(path));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->n_mla_layers(), 1);
    EXPECT_EQ(parsed->layers[3].mixer, MixerKind::kMla);
    EXPECT_EQ(parsed->layers[0].ffn, FfnKind::kDense);
    EXPECT_EQ(parsed->layers[1].ffn, FfnKind::kMoe);
    EXPECT_EQ(parsed->kv_norm_eps, 1e-6f) << "not rms_norm_eps";
  }
}

TEST(HuggingFaceConfigTest, Variants) {
  Json j = Released();
  j["eos_token_id"] = {163586, 163585};
  j.erase("bos_token_id");
  j["q_lora_rank"] = 1536;
  j["num_shared_experts"] = 2;
  j["num_expert_group"] = 8;
  j["topk_group"] = 4;
  j["moe_router_activation_func"] = "softmax";
  j["moe_renormalize"] = false;
  j["tie_word_embeddings"] = true;
  const auto parsed = ParseHuggingFaceConfig(j.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->eos_token, 163586);
  EXPECT_EQ(parsed->bos_token, -1);
  EXPECT_EQ(parsed->q_lora_rank, 1536);
  EXPECT_EQ(parsed->n_shared_experts, 2);
  EXPECT_EQ(parsed->router_groups, 8);
  EXPECT_EQ(parsed->router_topk_groups, 4);
  EXPECT_EQ(parsed->router_activation, RouterActivation::kSoftmax);
  EXPECT_FALSE(parsed->router_renormalize);
  EXPECT_TRUE(parsed->tie_embeddings);
}

TEST(HuggingFaceConfigTest, WithoutExpertsEveryLayerIsDense) {
  for (const Json& none : {Json(0), Json()}) {
    Json j = Released();
    j["num_experts"] = none;
    j.erase("num_experts_per_token");
    j.erase("moe_intermediate_size");
    const auto parsed = ParseHuggingFaceConfig(j.dump());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    for (const LayerKind& kind : parsed->layers) EXPECT_EQ(kind.ffn, FfnKind::kDense);
  }
}

TEST(HuggingFaceConfigTest, RefusesWhatItWouldGetWrong) {
  struct Case {
    const char* pointer;
    Json value;
    const char* says;
  };
  const Case cases[] = {
      {"/model_type", "llama", "model_type is \"llama\", expected \"kimi_linear\""},
      {"/model_type", 7, "model_type is 7"},
      {"/mla_use_nope", false, "mla_use_nope is false"},
      {"/mla_use_nope", nullptr, "mla_use_nope is null"},
      {"/rope_scaling", {{"type", "yarn"}}, "rope_scaling is an object"},
      {"/hidden_act", "gelu", "hidden_act is \"gelu\""},
      {"/attention_bias", true, "attention_bias is true"},
      {"/moe_layer_freq", 2, "moe_layer_freq is 2, expected 1"},
      {"/num_nextn_predict_layers", 1, "num_nextn_predict_layers is 1"},
      {"/use_full_rank_gate", true, "use_full_rank_gate is true"},
      {"/gate_lower_bound", -5.0, "gate_lower_bound is -5.0"},
      {"/num_key_value_heads", 8, "num_key_value_heads is 8, expected num_attention_heads = 32"},
      {"/moe_router_activation_func", "relu", "moe_router_activation_func is \"relu\""},
      {"/hidden_size", "2304", "hidden_size is \"2304\", expected an integer"},
      {"/hidden_size", 2304.5, "hidden_size is 2304.5"},
      {"/hidden_size", 0, "hidden_size is 0, expected 1 to 1048576"},
      {"/hidden_size", -1, "hidden_size is -1"},
      {"/hidden_size", 18446744073709551615u, "hidden_size is 18446744073709551615"},
      {"/vocab_size", nullptr, "vocab_size is null, expected a number"},
      {"/vocab_size", 1000, "bos_token is 163584, expected -1 to 999"},
      {"/rms_norm_eps", "small", "rms_norm_eps is \"small\""},
      {"/rms_norm_eps", 0.0, "rms_norm_eps is 0"},
      {"/moe_renormalize", 1, "moe_renormalize is 1, expected true or false"},
      {"/first_k_dense_replace", 28, "first_k_dense_replace is 28, expected 0 to 27"},
      {"/num_hidden_layers", 0, "num_hidden_layers is 0"},
      {"/num_hidden_layers", 28, "linear_attn_config.layer in no list is 28"},
      {"/num_hidden_layers", 26, "expected layers 1 to 26"},
      {"/num_hidden_layers", 1000000000, "num_hidden_layers is 1000000000"},
      {"/num_experts_per_token", 257, "experts_per_token is 257"},
      {"/num_expert_group", 3, "router_groups is 3, expected a divisor of n_experts = 256"},
      {"/topk_group", 2, "router_topk_groups is 2, expected 1 to 1"},
      {"/eos_token_id", "end", "eos_token_id is \"end\""},
      {"/eos_token_id", Json::array(), "eos_token_id is an array"},
      {"/eos_token_id", -3, "eos_token_id is -3"},
      {"/linear_attn_config", nullptr, "linear_attn_config is null"},
      {"/linear_attn_config/head_dim", 24, "kda_head_dim is 24, expected a multiple of 16"},
      {"/linear_attn_config/head_dim", 272, "kda_head_dim is 272, expected 16 to 256"},
      {"/linear_attn_config/num_heads", nullptr, "linear_attn_config.num_heads is null"},
      {"/linear_attn_config/short_conv_kernel_size", 9, "conv_width is 9, expected 2 to 8"},
      {"/linear_attn_config/kda_layers", "all", "linear_attn_config.kda_layers is \"all\""},
      {"/linear_attn_config/kda_layers/0", 0, "kda_layers is 0, expected layers 1 to 27"},
      {"/linear_attn_config/kda_layers/0", 28, "kda_layers is 28"},
      {"/linear_attn_config/kda_layers/0", 1.5, "kda_layers is 1.5"},
      {"/linear_attn_config/kda_layers/0", 2, "every layer once"},
      {"/linear_attn_config/full_attn_layers/0", 3, "every layer once"},
  };
  for (const Case& c : cases) {
    Json j = Released();
    j[Json::json_pointer(c.pointer)] = c.value;
    const absl::Status status = ParseHuggingFaceConfig(j.dump()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.pointer << " " << c.value;
    EXPECT_TRUE(Says(status, c.says)) << c.pointer;
  }
}

TEST(HuggingFaceConfigTest, RefusesWhatIsNoJson) {
  std::string deep = R"({"model_type": )" + std::string(200000, '[');
  for (const std::string& text : {std::string(), std::string("[1]"), std::string("{"), deep,
                                  deep + std::string(200000, ']') + "}",
                                  R"({"a": )" + deep + "1" + std::string(200001, '}')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHuggingFaceConfig(text).status()));
  }
}

TEST(ValidateConfigTest, EveryLimit) {
  ASSERT_TRUE(Validate(test::TinyConfig()).ok()) << Validate(test::TinyConfig());
  const std::pair<const char*, std::function<void(ModelConfig&)>> cases[] = {
      {"vocab_size is 0", [](auto& c) { c.vocab_size = 0; }},
      {"vocab_size is 16777217", [](auto& c) { c.vocab_size = (1 << 24) + 1; }},
      {"rms_norm_eps is nan", [](auto& c) { c.rms_norm_eps = std::nanf(""); }},
      {"max_context is 0", [](auto& c) { c.max_context = 0; }},
      {"number of layers is 0", [](auto& c) { c.layers.clear(); }},
      {"number of layers is 1025", [](auto& c) { c.layers.resize(1025); }},
      {"layer 1: mixer is 2", [](auto& c) { c.layers[1].mixer = static_cast<MixerKind>(2); }},
      {"layer 0: feed-forward is 9", [](auto& c) { c.layers[0].ffn = static_cast<FfnKind>(9); }},
      {"kda_heads is 0", [](auto& c) { c.kda_heads = 0; }},
      {"kda_head_dim is 264", [](auto& c) { c.kda_head_dim = 264; }},
      {"kda_head_dim is 40, expected a multiple", [](auto& c) { c.kda_head_dim = 40; }},
      {"conv_width is 1", [](auto& c) { c.conv_width = 1; }},
      {"kda_gate_rank is 0", [](auto& c) { c.kda_gate_rank = 0; }},
      {"mla_heads is 0", [](auto& c) { c.mla_heads = 0; }},
      {"q_lora_rank is -1", [](auto& c) { c.q_lora_rank = -1; }},
      {"kv_lora_rank is 0", [](auto& c) { c.kv_lora_rank = 0; }},
      {"qk_nope_dim is 0", [](auto& c) { c.qk_nope_dim = 0; }},
      {"v_head_dim is 0", [](auto& c) { c.v_head_dim = 0; }},
      {"kv_norm_eps is 0", [](auto& c) { c.kv_norm_eps = 0; }},
      {"dense_width is 0", [](auto& c) { c.dense_width = 0; }},
      {"n_experts is 0", [](auto& c) { c.n_experts = 0; }},
      {"n_experts is 4097", [](auto& c) { c.n_experts = 4097; }},
      {"experts_per_token is 3, expected 1 to 2", [](auto& c) { c.experts_per_token = 3; }},
      {"expert_width is 0", [](auto& c) { c.expert_width = 0; }},
      {"n_shared_experts is 65", [](auto& c) { c.n_shared_experts = 65; }},
      {"router_topk_groups is 2", [](auto& c) { c.router_topk_groups = 2; }},
      {"groups hold only 1 experts", [](auto& c) { c.router_groups = 2, c.experts_per_token = 2; }},
      {"router_activation is 2",
       [](auto& c) { c.router_activation = static_cast<RouterActivation>(2); }},
      {"router_scaling is inf", [](auto& c) { c.router_scaling = INFINITY; }},
      {"eos_token is 20, expected -1 to 19", [](auto& c) { c.eos_token = 20; }},
      {"pad_token is -2", [](auto& c) { c.pad_token = -2; }},
      {"number of tensors is",
       [](auto& c) {
         c.layers.resize(100, c.layers[1]);
         c.n_experts = 4096;
       }},
      {"kda_heads is 9223372036854775807",  // used by no layer, but arithmetic may still meet it
       [](auto& c) {
         c.layers = {c.layers[1]};
         c.kda_heads = std::numeric_limits<int64_t>::max();
       }},
  };
  for (const auto& [says, spoil] : cases) {
    ModelConfig c = test::TinyConfig();
    spoil(c);
    const absl::Status status = Validate(c);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << says;
    EXPECT_TRUE(Says(status, says));
  }
}

}  // namespace
}  // namespace rill
