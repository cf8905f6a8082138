#include "model/weights/tensor_table.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/format/container.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

// Appends tensors in file order under one name prefix.
class TableWriter {
 public:
  explicit TableWriter(const Recipe& recipe) : recipe_(recipe) {}

  void Under(std::string prefix) { prefix_ = std::move(prefix); }

  void Vector(std::string_view name, int64_t n) { Vector(name, 1, n); }
  void Vector(std::string_view name, int64_t rows, int64_t cols) {
    Matrix(name, Role::kVector, rows, cols);
  }

  void Matrix(std::string_view name, Role role, int64_t rows, int64_t cols) {
    const WeightFormat format = recipe_.format[static_cast<int>(role)];
    table_.push_back({absl::StrCat(prefix_, AbslView(name)), role, format, rows, cols,
                      MatrixBytes(format, rows, cols), kPlaneAlignment});
  }

  void Expert(int64_t index, int64_t hidden, int64_t width) {
    const WeightFormat format = recipe_.format[static_cast<int>(Role::kExpert)];
    table_.push_back({absl::StrCat(prefix_, "moe.expert.", index), Role::kExpert, format, width,
                      hidden, MakeExpertLayout(format, hidden, width).bytes, kDataAlignment});
  }

  std::vector<TensorSpec> Take() { return std::move(table_); }

 private:
  const Recipe& recipe_;
  std::string prefix_;
  std::vector<TensorSpec> table_;
};

void AddKda(const ModelConfig& c, TableWriter& t) {
  const int64_t d = c.hidden_size, width = c.kda_width(), rank = c.kda_gate_rank;
  for (const char* name : {"kda.q", "kda.k", "kda.v"})
    t.Matrix(name, Role::kKdaProjection, width, d);
  for (const char* name : {"kda.conv_q", "kda.conv_k", "kda.conv_v"})
    t.Vector(name, width, c.conv_width);
  for (const char* name : {"kda.f_a", "kda.g_a"}) t.Matrix(name, Role::kGateLowRank, rank, d);
  for (const char* name : {"kda.f_b", "kda.g_b"}) t.Matrix(name, Role::kGateLowRank, width, rank);
  t.Matrix("kda.b", Role::kGateLowRank, c.kda_heads, d);
  t.Vector("kda.a_log", c.kda_heads);
  t.Vector("kda.dt_bias", c.kda_heads, c.kda_head_dim);
  t.Vector("kda.o_norm", c.kda_head_dim);
  t.Matrix("kda.o", Role::kKdaProjection, d, width);
}

void AddMla(const ModelConfig& c, TableWriter& t) {
  const int64_t d = c.hidden_size, q_rows = c.mla_heads * (c.qk_nope_dim + c.qk_rope_dim);
  if (c.q_lora_rank == 0) {
    t.Matrix("mla.q", Role::kMlaProjection, q_rows, d);
  } else {
    t.Matrix("mla.q_a", Role::kMlaProjection, c.q_lora_rank, d);
    t.Vector("mla.q_norm", c.q_lora_rank);
    t.Matrix("mla.q_b", Role::kMlaProjection, q_rows, c.q_lora_rank);
  }
  t.Matrix("mla.kv_a", Role::kMlaProjection, c.mla_row(), d);
  t.Vector("mla.kv_norm", c.kv_lora_rank);
  t.Matrix("mla.kv_b", Role::kMlaProjection, c.mla_heads * (c.qk_nope_dim + c.v_head_dim),
           c.kv_lora_rank);
  t.Matrix("mla.o", Role::kMlaProjection, d, c.mla_heads * c.v_head_dim);
}

void AddDense(const ModelConfig& c, TableWriter& t) {
  t.Matrix("ffn.gate", Role::kDenseFfn, c.dense_width, c.hidden_size);
  t.Matrix("ffn.up", Role::kDenseFfn, c.dense_width, c.hidden_size);
  t.Matrix("ffn.down", Role::kDenseFfn, c.hidden_size, c.dense_width);
}

void AddMoe(const ModelConfig& c, TableWriter& t) {
  const int64_t d = c.hidden_size, shared = c.n_shared_experts * c.expert_width;
  t.Matrix("moe.router", Role::kRouter, c.n_experts, d);
  t.Vector("moe.router_bias", c.n_experts);
  if (shared > 0) {
    t.Matrix("moe.shared.gate", Role::kSharedExpert, shared, d);
    t.Matrix("moe.shared.up", Role::kSharedExpert, shared, d);
    t.Matrix("moe.shared.down", Role::kSharedExpert, d, shared);
  }
  for (int64_t e = 0; e < c.n_experts; ++e) t.Expert(e, d, c.expert_width);
}

Recipe Uniform(std::string_view name, WeightFormat matrices) {
  Recipe recipe;
  recipe.name = std::string(name);
  for (WeightFormat& format : recipe.format) format = matrices;
  recipe.format[static_cast<int>(Role::kVector)] = WeightFormat::kF32;
  recipe.format[static_cast<int>(Role::kRouter)] = WeightFormat::kBf16;
  recipe.format[static_cast<int>(Role::kGateLowRank)] = WeightFormat::kBf16;
  return recipe;
}

}  // namespace

std::string_view Name(Role role) {
  switch (role) {
    case Role::kVector:
      return "vector";
    case Role::kRouter:
      return "router";
    case Role::kGateLowRank:
      return "gate_low_rank";
    case Role::kEmbedding:
      return "embedding";
    case Role::kLmHead:
      return "lm_head";
    case Role::kKdaProjection:
      return "kda_projection";
    case Role::kMlaProjection:
      return "mla_projection";
    case Role::kDenseFfn:
      return "dense_ffn";
    case Role::kSharedExpert:
      return "shared_expert";
    case Role::kExpert:
      return "expert";
  }
  return "?";
}

absl::StatusOr<Recipe> MakeRecipe(std::string_view name) {
  for (WeightFormat format : {WeightFormat::kBf16, WeightFormat::kQ8, WeightFormat::kQ4}) {
    if (name == Name(format)) return Uniform(name, format);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("recipe \"", AbslView(name), "\": there are bf16, q8 and q4"));
}

absl::Status Validate(const Recipe& recipe) {
  const auto wrong = [&](int role, std::string_view expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("recipe \"", recipe.name, "\": ", AbslView(Name(static_cast<Role>(role))),
                     " has format ", static_cast<int>(recipe.format[role]), " (",
                     AbslView(Name(recipe.format[role])), "), expected ", AbslView(expected)));
  };
  const absl::StatusOr<Recipe> known = MakeRecipe(recipe.name);
  for (int role = 0; role < kRoleCount; ++role) {
    const WeightFormat format = recipe.format[role];
    if (format > WeightFormat::kQ4) return wrong(role, "0 to 3");
    if (known.ok() && format != known->format[role]) return wrong(role, Name(known->format[role]));
    if (role == static_cast<int>(Role::kVector) && format != WeightFormat::kF32)
      return wrong(role, "f32");
    if (role == static_cast<int>(Role::kRouter) && IsQuantized(format))
      return wrong(role, "f32 or bf16");
  }
  return absl::OkStatus();
}

std::vector<TensorSpec> MakeTensorTable(const ModelConfig& config, const Recipe& recipe) {
  TableWriter t(recipe);
  t.Matrix("embedding", Role::kEmbedding, config.vocab_size, config.hidden_size);
  for (int64_t l = 0; l < config.n_layers(); ++l) {
    const LayerKind& kind = config.layers[l];
    t.Under(absl::StrCat("layers.", l, "."));
    t.Vector("input_norm", config.hidden_size);
    kind.mixer == MixerKind::kKda ? AddKda(config, t) : AddMla(config, t);
    t.Vector("post_norm", config.hidden_size);
    kind.ffn == FfnKind::kDense ? AddDense(config, t) : AddMoe(config, t);
  }
  t.Under("");
  t.Vector("final_norm", config.hidden_size);
  if (!config.tie_embeddings)
    t.Matrix("lm_head", Role::kLmHead, config.vocab_size, config.hidden_size);
  return t.Take();
}

int64_t CountTensors(const ModelConfig& c) {
  const int64_t kda = 15;
  const int64_t mla = c.q_lora_rank == 0 ? 5 : 7;
  const int64_t moe = 2 + (c.n_shared_experts > 0 ? 3 : 0) + c.n_experts;
  int64_t n = 2 + (c.tie_embeddings ? 0 : 1);
  for (const LayerKind& kind : c.layers) {
    n += 2 + (kind.mixer == MixerKind::kKda ? kda : mla) + (kind.ffn == FfnKind::kDense ? 3 : moe);
  }
  return n;
}

}  // namespace rill
