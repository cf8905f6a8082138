// Bytes of weights that a token moves, against sums over the table of tensors made another way.
#include "model/weights/weight_traffic.h"

#include "gtest/gtest.h"

namespace rill {
namespace {

struct Bytes {
  uint64_t all = 0, experts = 0, embedding = 0;
};
Bytes TableBytes(const ModelConfig& config, const char* recipe) {
  Bytes bytes;
  for (const TensorSpec& spec : MakeTensorTable(config, *MakeRecipe(recipe))) {
    bytes.all += spec.bytes;
    if (spec.role == Role::kExpert) bytes.experts += spec.bytes;
    if (spec.role == Role::kEmbedding) bytes.embedding += spec.bytes;
  }
  return bytes;
}

TEST(WeightTrafficTest, AStepReadsEightOf256ExpertsAndOneRowOfTheEmbedding) {
  for (const char* recipe : {"bf16", "q8", "q4"}) {
    const ModelConfig config = KimiLinear48B();
    const Bytes bytes = TableBytes(config, recipe);
    EXPECT_EQ(MeasureWeightTraffic(config, *MakeRecipe(recipe)).step,
              bytes.all - bytes.experts - bytes.embedding + bytes.experts / 32 + bytes.embedding / 163840)
        << recipe;
  }
}

TEST(WeightTrafficTest, AHeadThatIsTheEmbeddingIsReadWhole) {
  ModelConfig config = KimiLinear48B();
  config.tie_embeddings = true;
  const Bytes bytes = TableBytes(config, "q4");
  EXPECT_EQ(MeasureWeightTraffic(config, *MakeRecipe("q4")).step, bytes.all - bytes.experts + bytes.experts / 32);
}

TEST(WeightTrafficTest, AModelWithoutExpertsReadsEverything) {
  ModelConfig config = KimiLinear48B();
  for (LayerKind& layer : config.layers) layer.ffn = FfnKind::kDense;
  config.n_experts = 0;
  const Bytes bytes = TableBytes(config, "q4");
  const WeightTraffic traffic = MeasureWeightTraffic(config, *MakeRecipe("q4"));
  EXPECT_EQ(traffic.step, bytes.all - bytes.embedding + bytes.embedding / 163840);
  EXPECT_EQ(traffic.pass_experts, 0u);
}

// In bf16 a pass reads what there is; a quantised weight, of 4.5 or 8.5 bits, is written and read once more in 16 each.
TEST(WeightTrafficTest, APassMovesAQuantisedWeightThreeTimes) {
  const ModelConfig config = KimiLinear48B();
  const Bytes plain = TableBytes(config, "bf16"), q4 = TableBytes(config, "q4");
  const WeightTraffic traffic = MeasureWeightTraffic(config, *MakeRecipe("bf16"));
  EXPECT_EQ(traffic.pass_experts, plain.experts);
  EXPECT_EQ(traffic.pass_common, plain.all - plain.experts - plain.embedding);
  EXPECT_EQ(MeasureWeightTraffic(config, *MakeRecipe("q4")).pass_experts, q4.experts + 2 * plain.experts);
}

}  // namespace
}  // namespace rill
