// The table of tensors against the released checkpoint's own numbers, and the recipes.
#include "model/weights/tensor_table.h"

#include <map>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "model/format/container.h"
#include "tests/support/says.h"
#include "tests/support/tiny_config.h"

namespace rill {
namespace {

using test::Says;

std::map<std::string, TensorSpec> ByName(const std::vector<TensorSpec>& table) {
  std::map<std::string, TensorSpec> map;
  for (const TensorSpec& spec : table) map[spec.name] = spec;
  return map;
}

int64_t Parameters(const std::vector<TensorSpec>& table) {
  int64_t n = 0;
  for (const TensorSpec& s : table) n += s.rows * s.cols * (s.role == Role::kExpert ? 3 : 1);
  return n;
}

// 49,122,681,728 parameters: the index of the released checkpoint says so.
TEST(TensorTableTest, The48BModelHasEveryParameterOfTheCheckpoint) {
  const auto table = MakeTensorTable(KimiLinear48B(), *MakeRecipe("bf16"));
  EXPECT_EQ(Parameters(table), 49122681728);
  // 20,493 tensors there; here the three matrices of an expert are one record.
  EXPECT_EQ(table.size(), 20493u - 2 * 26 * 256);
}

TEST(TensorTableTest, NamesAndShapes) {
  const auto t = ByName(MakeTensorTable(KimiLinear48B(), *MakeRecipe("q4")));
  const auto expect = [&](const std::string& name, Role role, WeightFormat format, int64_t rows,
                          int64_t cols) {
    ASSERT_TRUE(t.contains(name)) << name;
    const TensorSpec& spec = t.at(name);
    EXPECT_EQ(spec.role, role) << name;
    EXPECT_EQ(spec.format, format) << name;
    EXPECT_EQ(spec.rows, rows) << name;
    EXPECT_EQ(spec.cols, cols) << name;
  };
  using F = WeightFormat;
  expect("embedding", Role::kEmbedding, F::kQ4, 163840, 2304);
  expect("lm_head", Role::kLmHead, F::kQ4, 163840, 2304);
  expect("final_norm", Role::kVector, F::kF32, 1, 2304);
  expect("layers.0.kda.q", Role::kKdaProjection, F::kQ4, 4096, 2304);
  expect("layers.0.kda.conv_v", Role::kVector, F::kF32, 4096, 4);
  expect("layers.0.kda.f_a", Role::kGateLowRank, F::kBf16, 128, 2304);
  expect("layers.0.kda.g_b", Role::kGateLowRank, F::kBf16, 4096, 128);
  expect("layers.0.kda.b", Role::kGateLowRank, F::kBf16, 32, 2304);
  expect("layers.0.kda.a_log", Role::kVector, F::kF32, 1, 32);
  expect("layers.0.kda.dt_bias", Role::kVector, F::kF32, 32, 128);
  expect("layers.0.kda.o_norm", Role::kVector, F::kF32, 1, 128);
  expect("layers.0.kda.o", Role::kKdaProjection, F::kQ4, 2304, 4096);
  expect("layers.0.ffn.down", Role::kDenseFfn, F::kQ4, 2304, 9216);
  expect("layers.3.mla.q", Role::kMlaProjection, F::kQ4, 6144, 2304);
  expect("layers.3.mla.kv_a", Role::kMlaProjection, F::kQ4, 576, 2304);
  expect("layers.3.mla.kv_norm", Role::kVector, F::kF32, 1, 512);
  expect("layers.3.mla.kv_b", Role::kMlaProjection, F::kQ4, 8192, 512);
  expect("layers.3.mla.o", Role::kMlaProjection, F::kQ4, 2304, 4096);
  expect("layers.26.moe.router", Role::kRouter, F::kBf16, 256, 2304);
  expect("layers.26.moe.router_bias", Role::kVector, F::kF32, 1, 256);
  expect("layers.26.moe.shared.up", Role::kSharedExpert, F::kQ4, 1024, 2304);
  expect("layers.26.moe.expert.255", Role::kExpert, F::kQ4, 1024, 2304);
  EXPECT_FALSE(t.contains("layers.0.mla.q"));
  EXPECT_FALSE(t.contains("layers.0.moe.router"));
  EXPECT_FALSE(t.contains("layers.26.kda.q")) << "layer 27 attends";
  EXPECT_EQ(t.at("layers.26.moe.expert.0").bytes, 3u * 1024 * 2304 / 32 * 18);
  EXPECT_EQ(t.at("layers.26.moe.expert.0").alignment, kDataAlignment);
}

TEST(TensorTableTest, OptionalTensors) {
  ModelConfig c = test::TinyConfig();
  const Recipe recipe = *MakeRecipe("bf16");
  EXPECT_TRUE(ByName(MakeTensorTable(c, recipe)).contains("lm_head"));
  c.tie_embeddings = true;
  c.q_lora_rank = 12;
  c.n_shared_experts = 0;
  const auto t = ByName(MakeTensorTable(c, recipe));
  EXPECT_FALSE(t.contains("lm_head"));
  EXPECT_FALSE(t.contains("layers.1.mla.q"));
  EXPECT_FALSE(t.contains("layers.1.moe.shared.gate"));
  EXPECT_EQ(t.at("layers.1.mla.q_a").rows, 12);
  EXPECT_EQ(t.at("layers.1.mla.q_norm").cols, 12);
  EXPECT_EQ(t.at("layers.1.mla.q_b").rows, 24);
  c.n_shared_experts = 3;  // fused into one block
  EXPECT_EQ(ByName(MakeTensorTable(c, recipe)).at("layers.1.moe.shared.down").cols, 72);
}

TEST(TensorTableTest, CountsItselfAndRepeatsNoName) {
  for (int i = 0; i < 16; ++i) {
    ModelConfig c = test::TinyConfig();
    c.tie_embeddings = (i & 1) != 0;
    c.q_lora_rank = (i & 2) != 0 ? 12 : 0;
    c.n_shared_experts = (i & 4) != 0 ? 2 : 0;
    if ((i & 8) != 0) c.layers.push_back({MixerKind::kKda, FfnKind::kMoe});
    const auto table = MakeTensorTable(c, *MakeRecipe("q8"));
    EXPECT_EQ(static_cast<int64_t>(table.size()), CountTensors(c)) << i;
    std::set<std::string> names;
    for (const TensorSpec& spec : table) EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
  }
}

TEST(TensorTableTest, ExpertsAreOneRunPerLayer) {
  const auto table = MakeTensorTable(KimiLinear48B(8), *MakeRecipe("q8"));
  int runs = 0;
  for (size_t i = 1; i < table.size(); ++i)
    runs += table[i].role == Role::kExpert && table[i - 1].role != Role::kExpert;
  EXPECT_EQ(runs, 26);
}

TEST(RecipeTest, TheThreeRecipes) {
  for (const auto& [name, format] :
       {std::pair{"bf16", WeightFormat::kBf16}, std::pair{"q8", WeightFormat::kQ8},
        std::pair{"q4", WeightFormat::kQ4}}) {
    const Recipe recipe = *MakeRecipe(name);
    EXPECT_TRUE(Validate(recipe).ok()) << name;
    for (int role = 0; role < kRoleCount; ++role) {
      const auto r = static_cast<Role>(role);
      const bool small = r == Role::kRouter || r == Role::kGateLowRank;
      const auto expected = r == Role::kVector ? WeightFormat::kF32
                            : small            ? WeightFormat::kBf16
                                               : format;
      EXPECT_EQ(recipe.format[role], expected) << name << " " << Name(r);
    }
  }
  const absl::Status unknown = MakeRecipe("q5").status();
  EXPECT_TRUE(absl::IsInvalidArgument(unknown));
  EXPECT_TRUE(Says(unknown, "\"q5\": there are bf16, q8 and q4"));
}

TEST(RecipeTest, RefusesFormatsThatCannotBe) {
  Recipe mixed = *MakeRecipe("q4");
  mixed.format[static_cast<int>(Role::kLmHead)] = WeightFormat::kQ8;
  EXPECT_FALSE(Validate(mixed).ok()) << "q4 means q4";
  mixed.name = "q4 with a q8 head";
  EXPECT_TRUE(Validate(mixed).ok());
  for (const auto& [role, format] :
       {std::pair{Role::kVector, WeightFormat::kBf16}, std::pair{Role::kRouter, WeightFormat::kQ8},
        std::pair{Role::kExpert, static_cast<WeightFormat>(4)}}) {
    Recipe wrong = mixed;
    wrong.format[static_cast<int>(role)] = format;
    EXPECT_TRUE(absl::IsInvalidArgument(Validate(wrong))) << Name(role);
  }
}

}  // namespace
}  // namespace rill
