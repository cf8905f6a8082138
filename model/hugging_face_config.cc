#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/base/status.h"
#include "model/config.h"
#include "nlohmann/json.hpp"

namespace rill {
namespace {

using Json = nlohmann::json;

constexpr int kMaxNesting = 32;  // the released config has three levels

absl::Status Refuse(absl::string_view field, const Json& value, absl::string_view expected) {
  // Lists and objects by kind only: they may be long.
  std::string shown = value.is_primitive()
                          ? value.dump(-1, ' ', false, Json::error_handler_t::replace)
                          : absl::StrCat("an ", value.type_name());
  if (shown.size() > 200) shown = absl::StrCat(shown.substr(0, 200), "...");
  return absl::InvalidArgumentError(
      absl::StrCat("config.json: ", field, " is ", shown, ", expected ", expected));
}

// Reads typed fields of one JSON object; the first error sticks, so that callers read straight down
// and check once.
class Fields {
 public:
  Fields(const Json& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {}

  const absl::Status& status() const { return status_; }
  std::string Path(absl::string_view name) const { return absl::StrCat(prefix_, name); }

  // Null when it is absent or null.
  const Json* Find(const char* name) const {
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  int64_t Integer(const char* name) {
    const Json* value = Require(name);
    return value == nullptr ? 0 : AsInteger(name, *value);
  }
  int64_t Integer(const char* name, int64_t otherwise) {
    const Json* value = Find(name);
    return value == nullptr ? otherwise : AsInteger(name, *value);
  }
  float Number(const char* name) {
    const Json* value = Require(name);
    return value == nullptr ? 0.0f : AsNumber(name, *value);
  }
  float Number(const char* name, float otherwise) {
    const Json* value = Find(name);
    return value == nullptr ? otherwise : AsNumber(name, *value);
  }
  bool Bool(const char* name, bool otherwise) {
    const Json* value = Find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) Fail(name, *value, "true or false");
    return value->is_boolean() && value->get<bool>();
  }
  std::string Text(const char* name, const std::string& otherwise) {
    const Json* value = Find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) Fail(name, *value, "a text");
    return value->is_string() ? value->get<std::string>() : otherwise;
  }

  void Fail(absl::string_view name, const Json& value, absl::string_view expected) {
    if (status_.ok()) status_ = Refuse(Path(name), value, expected);
  }

 private:
  const Json* Require(const char* name) {
    const Json* value = Find(name);
    if (value == nullptr) Fail(name, Json(), "a number");
    return value;
  }
  int64_t AsInteger(const char* name, const Json& value) {
    const bool fits =
        value.is_number_integer() &&
        (!value.is_number_unsigned() ||
         value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    if (!fits) Fail(name, value, "an integer");
    return fits ? value.get<int64_t>() : 0;
  }
  float AsNumber(const char* name, const Json& value) {
    if (!value.is_number()) Fail(name, value, "a number");
    return value.is_number() ? static_cast<float>(value.get<double>()) : 0.0f;
  }

  const Json& object_;
  std::string prefix_;
  absl::Status status_;
};

void ExpectAbsentOr(Fields& f, const char* name, const Json& allowed, absl::string_view why) {
  const Json* value = f.Find(name);
  if (value != nullptr && *value != allowed) f.Fail(name, *value, why);
}

// What the arithmetic of Rill takes for granted.
void CheckSupported(Fields& f) {
  if (f.Text("model_type", "") != "kimi_linear") {
    f.Fail("model_type", f.Find("model_type") == nullptr ? Json() : *f.Find("model_type"),
           "\"kimi_linear\"");
  }
  const Json* nope = f.Find("mla_use_nope");
  if (nope == nullptr || *nope != Json(true)) {
    f.Fail("mla_use_nope", nope == nullptr ? Json() : *nope,
           "true: attention has no rotary position");
  }
  if (const Json* scaling = f.Find("rope_scaling")) f.Fail("rope_scaling", *scaling, "null");
  ExpectAbsentOr(f, "hidden_act", "silu", "\"silu\"");
  ExpectAbsentOr(f, "attention_bias", false, "false: projections have no bias");
  ExpectAbsentOr(f, "moe_layer_freq", 1, "1");
  ExpectAbsentOr(f, "num_nextn_predict_layers", 0, "0");
  ExpectAbsentOr(f, "use_full_rank_gate", false, "false: the gate is of low rank");
  if (const Json* bound = f.Find("gate_lower_bound"))
    f.Fail("gate_lower_bound", *bound, "null: the gate is unbounded");
}

void ReadModel(Fields& f, ModelConfig& c) {
  c.vocab_size = f.Integer("vocab_size");
  c.hidden_size = f.Integer("hidden_size");
  c.rms_norm_eps = f.Number("rms_norm_eps");
  c.tie_embeddings = f.Bool("tie_word_embeddings", false);
  c.max_context = f.Integer("model_max_length", f.Integer("max_position_embeddings", 1 << 20));
}

void ReadMla(Fields& f, ModelConfig& c) {
  c.mla_heads = f.Integer("num_attention_heads");
  if (f.Integer("num_key_value_heads", c.mla_heads) != c.mla_heads) {
    f.Fail("num_key_value_heads", *f.Find("num_key_value_heads"),
           absl::StrCat("num_attention_heads = ", c.mla_heads, ": every head has its own keys"));
  }
  c.q_lora_rank = f.Integer("q_lora_rank", 0);
  c.kv_lora_rank = f.Integer("kv_lora_rank");
  c.qk_nope_dim = f.Integer("qk_nope_head_dim");
  c.qk_rope_dim = f.Integer("qk_rope_head_dim");
  c.v_head_dim = f.Integer("v_head_dim");
}

void ReadRouter(Fields& f, ModelConfig& c) {
  const std::string activation = f.Text("moe_router_activation_func", "sigmoid");
  if (activation == "softmax") {
    c.router_activation = RouterActivation::kSoftmax;
  } else if (activation != "sigmoid") {
    f.Fail("moe_router_activation_func", activation, "\"sigmoid\" or \"softmax\"");
  }
  c.router_renormalize = f.Bool("moe_renormalize", true);
  c.router_scaling = f.Number("routed_scaling_factor", 1.0f);
  if (!f.Bool("use_grouped_topk", false)) return;  // the group counts mean nothing then
  c.router_groups = f.Integer("num_expert_group", 1);
  c.router_topk_groups = f.Integer("topk_group", 1);
}

void ReadFeedForward(Fields& f, ModelConfig& c) {
  c.dense_width = f.Integer("intermediate_size");
  c.n_experts = f.Integer("num_experts", 0);
  if (c.n_experts == 0) return;
  c.experts_per_token = f.Integer("num_experts_per_token");
  c.expert_width = f.Integer("moe_intermediate_size");
  c.n_shared_experts = f.Integer("num_shared_experts", 0);
  ReadRouter(f, c);
}

// A list of ids stands for several ends; the first is the one the tokenizer's own name for it
// points to.
int32_t ReadToken(Fields& f, const char* name) {
  const Json* value = f.Find(name);
  if (value == nullptr) return -1;
  const Json& id = value->is_array() && !value->empty() ? value->front() : *value;
  if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max()) {
    f.Fail(name, *value, "a token id or a list of them");
    return -1;
  }
  return id.get<int32_t>();
}

// Marks the layers of a 1-based list. Every layer must be in exactly one of the two lists.
void MarkLayers(Fields& linear, const char* name, MixerKind kind, std::vector<int>& seen,
                ModelConfig& c) {
  const Json* list = linear.Find(name);
  if (list == nullptr || !list->is_array()) {
    linear.Fail(name, list == nullptr ? Json() : *list, "a list of layers, counted from 1");
    return;
  }
  for (const Json& entry : *list) {
    if (!entry.is_number_integer() || entry < 1 || entry > seen.size()) {
      linear.Fail(name, entry, absl::StrCat("layers 1 to ", seen.size()));
      return;
    }
    const size_t layer = entry.get<size_t>() - 1;
    if (seen[layer]++ != 0)
      linear.Fail(name, entry, "every layer once in one of kda_layers and full_attn_layers");
    c.layers[layer].mixer = kind;
  }
}

void ReadLayers(Fields& f, Fields& linear, ModelConfig& c) {
  const int64_t n = f.Integer("num_hidden_layers");
  if (n < 1 || n > 1024) return f.Fail("num_hidden_layers", n, "1 to 1024");
  const int64_t dense = c.n_experts == 0 ? n : f.Integer("first_k_dense_replace", 0);
  if (dense < 0 || dense > n)
    return f.Fail("first_k_dense_replace", dense, absl::StrCat("0 to ", n));
  for (int64_t l = 0; l < n; ++l)
    c.layers.push_back({MixerKind::kKda, l < dense ? FfnKind::kDense : FfnKind::kMoe});
  std::vector<int> seen(static_cast<size_t>(n));
  MarkLayers(linear, "kda_layers", MixerKind::kKda, seen, c);
  MarkLayers(linear, "full_attn_layers", MixerKind::kMla, seen, c);
  for (size_t l = 0; l < seen.size() && linear.status().ok(); ++l) {
    if (seen[l] == 0)
      linear.Fail("layer in no list", l + 1, "every layer in kda_layers or full_attn_layers");
  }
}

void ReadKda(Fields& linear, ModelConfig& c) {
  c.kda_heads = linear.Integer("num_heads");
  c.kda_head_dim = linear.Integer("head_dim");
  c.conv_width = linear.Integer("short_conv_kernel_size", 4);
  c.kda_gate_rank = c.kda_head_dim;  // rows of f_a_proj and g_a_proj in the released layout
}

// The parser itself does not recurse, but copying or dropping a value recurses as deep as a hostile
// file nests it.
absl::StatusOr<Json> ParseShallow(const std::string& text) {
  bool too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxNesting;
    return depth <= kMaxNesting;
  };
  Json root = Json::parse(text, keep, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: nested more than ", kMaxNesting, " levels deep"));
  }
  if (!root.is_object()) return absl::InvalidArgumentError("config.json: not a JSON object");
  return root;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseHuggingFaceConfig(const std::string& json) {
  RILL_ASSIGN_OR_RETURN(const Json root, ParseShallow(json));
  Fields f(root, "");
  CheckSupported(f);
  RILL_RETURN_IF_ERROR(f.status());
  const auto nested = root.find("linear_attn_config");
  if (nested == root.end() || !nested->is_object()) {
    return Refuse("linear_attn_config", nested == root.end() ? Json() : *nested, "an object");
  }
  Fields linear(*nested, "linear_attn_config.");
  ModelConfig c;
  ReadModel(f, c);
  ReadMla(f, c);
  ReadFeedForward(f, c);
  ReadKda(linear, c);
  ReadLayers(f, linear, c);
  c.bos_token = ReadToken(f, "bos_token_id");
  c.eos_token = ReadToken(f, "eos_token_id");
  c.pad_token = ReadToken(f, "pad_token_id");
  RILL_RETURN_IF_ERROR(f.status());
  RILL_RETURN_IF_ERROR(linear.status());
  RILL_RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace rill
