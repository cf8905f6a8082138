#include "model/graph/stepped_pass.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_config.h"

namespace rill::test {
namespace {

int64_t Longest(const ModelConfig& config, const char* recipe, int64_t chunk = 4096) {
  return LongestSteppedPass(config, MeasureWeightTraffic(config, *MakeRecipe(recipe)), chunk);
}

// A q4 weight is 4.5 bits to a step; to a pass it is these and 32 more, so a pass that needs all weights moves eight
// times its bytes.
TEST(SteppedPassTest, The48BModelStepsAHundredTokensInQ4AndOneInBf16) {
  const int64_t q4 = Longest(KimiLinear48B(), "q4"), q8 = Longest(KimiLinear48B(), "q8");
  EXPECT_GT(q4, 90);
  EXPECT_LT(q4, 130);
  EXPECT_GT(q8, 40);
  EXPECT_LT(q8, q4);
  EXPECT_EQ(Longest(KimiLinear48B(), "bf16"), 1);
}

TEST(SteppedPassTest, AModelWithoutExpertsStepsAboutAsManyAsAWeightIsMovedTimes) {
  ModelConfig config = KimiLinear48B();
  for (LayerKind& layer : config.layers) layer.ffn = FfnKind::kDense;
  config.n_experts = 0;
  EXPECT_GE(Longest(config, "q4"), 7);  // (4.5 + 32) / 4.5, but for the gates, which are bf16
  EXPECT_LE(Longest(config, "q4"), 8);
  EXPECT_EQ(Longest(config, "bf16"), 1);
}

TEST(SteppedPassTest, NoPassIsLongerThanAChunk) {
  EXPECT_EQ(Longest(KimiLinear48B(), "q4", 16), 16);
  EXPECT_EQ(Longest(KimiLinear48B(), "q4", 1), 1);
  EXPECT_GE(Longest(TinyConfig(), "q4"), 1);
}

}  // namespace
}  // namespace rill::test
