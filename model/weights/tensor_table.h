// model/weights/tensor_table.h — which tensors a config asks for: names, shapes, roles. The one
// list that the converter, the writer, the reader, the planner and the synthetic model walk, so
// that they cannot disagree.
//
//   embedding [V, D] · final_norm [D] · lm_head [V, D] (absent when tied)
//   layers.L.input_norm [D] · layers.L.post_norm [D]
//   layers.L.kda.{q,k,v} [HK, D] · kda.{conv_q,conv_k,conv_v} [HK, W] · kda.{f_a,g_a} [R, D] ·
//            kda.{f_b,g_b} [HK, R] · kda.b [H, D] · kda.a_log [H] · kda.dt_bias [H, K] ·
//            kda.o_norm [V] · kda.o [D, HV]
//   layers.L.mla.q [H(N+P), D], or mla.q_a [Q, D] · mla.q_norm [Q] · mla.q_b [H(N+P), Q]
//   layers.L.mla.kv_a [R+P, D] · mla.kv_norm [R] · mla.kv_b [H(N+V), R] · mla.o [D, HV]
//   layers.L.ffn.{gate,up} [I, D] · ffn.down [D, I]
//   layers.L.moe.router [E, D] · moe.router_bias [E] · moe.shared.{gate,up} [S*I, D] ·
//            moe.shared.down [D, S*I] · moe.expert.E, one record of gate, up, down (matrix.h)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/ops/matrix.h"
#include "model/config.h"

namespace rill {

// What a tensor is for; a recipe gives each role a format.
enum class Role : uint8_t {
  kVector = 0,       // norms, biases, A_log, dt_bias, convolutions: float32, never quantised
  kRouter = 1,       // bf16
  kGateLowRank = 2,  // f_a, f_b, g_a, g_b, b: bf16
  kEmbedding = 3,
  kLmHead = 4,
  kKdaProjection = 5,  // q, k, v, o
  kMlaProjection = 6,  // q, q_a, q_b, kv_a, kv_b, o
  kDenseFfn = 7,
  kSharedExpert = 8,
  kExpert = 9,
};
inline constexpr int kRoleCount = 10;
std::string_view Name(Role role);

// Format per role. `bf16`, `q8` and `q4` are the recipes of the same names.
struct Recipe {
  std::string name;
  WeightFormat format[kRoleCount];
};
// InvalidArgument names the recipes there are.
absl::StatusOr<Recipe> MakeRecipe(std::string_view name);
// Vectors are f32, the router f32 or bf16, every byte a format there is; a name MakeRecipe knows
// means its formats.
absl::Status Validate(const Recipe& recipe);

struct TensorSpec {
  std::string name;
  Role role;
  WeightFormat format;  // f32 for vectors
  // A vector [n] is rows 1, cols n (conv_* and dt_bias keep their two dimensions); an expert
  // record has rows = width, cols = hidden.
  int64_t rows, cols;
  uint64_t bytes;      // in memory and in the file: MatrixBytes, or MakeExpertLayout().bytes
  uint64_t alignment;  // in the file: 64, or 64 KiB for expert records
};

// Every tensor of the model in file order, experts last within their layer. Pure.
std::vector<TensorSpec> MakeTensorTable(const ModelConfig& config, const Recipe& recipe);

// Its size, without making it: what a reader checks a file's count against before it allocates
// anything.
int64_t CountTensors(const ModelConfig& config);

}  // namespace rill
