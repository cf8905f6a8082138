// The golden checkpoints on every device, GPUs included: how far bf16 weights and bf16 cache rows
// are from the float32 reference, and that steps and passes of any size are the same model.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/model/golden_timeline.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

constexpr double kMeanKl = 1e-3;  // nats per token, below
constexpr double kTopOne = 0.99;  // of the tokens, at least

class GoldenDevicesTest : public ::testing::TestWithParam<std::tuple<const char*, std::string>> {
 protected:
  void SetUp() override {
    const auto& [folder, device] = GetParam();
    if (const std::string why = WhyAbsent(device); !why.empty()) GTEST_SKIP() << why;
    reference_ = std::make_unique<Reference>(GoldenFolder(folder) + "/reference.safetensors");
    ids_ = reference_->I32("input_ids");
    ASSERT_EQ(ids_.size(), 300u);
    model_ = OpenModel(ConvertTo(temp_, GoldenFolder(folder), "bf16"), device);
    ASSERT_NE(model_, nullptr);
  }

  std::vector<float> LogitsOf(const std::vector<int64_t>& pieces, DType cache) {
    SessionShape shape;
    shape.max_tokens = 360;
    shape.prefill_chunk = 300;
    shape.mla_dtype = cache;
    Timeline t(model_, shape);
    t.Feed(ids_, pieces);
    return std::move(t.logits);
  }

  void ExpectClose(const std::vector<float>& exact, const std::vector<float>& got,
                   const char* what) {
    ASSERT_EQ(got.size(), exact.size()) << what;
    const size_t vocab = static_cast<size_t>(model_->config().vocab_size);
    const double kl = MeanKl(exact, got, vocab), top = TopOneAgreement(exact, got, vocab);
    const auto& [folder, device] = GetParam();
    printf(
        "[ measured ] %s on %s, %s: mean KL %.3g nats per token, top-1 agreement %.4f, largest "
        "difference %.3g\n",
        folder, device.c_str(), what, kl, top,
        static_cast<double>(MaxDifference(exact.data(), got.data(), exact.size())));
    EXPECT_LT(kl, kMeanKl) << what;  // a NaN is not below it
    EXPECT_GE(top, kTopOne) << what;
  }

  TempDir temp_;
  std::unique_ptr<Reference> reference_;
  std::vector<int32_t> ids_;
  std::shared_ptr<const Model> model_;
};

TEST_P(GoldenDevicesTest, OnePassIsNearTheReference) {
  const std::vector<float> expected = reference_->F32("logits");
  ExpectClose(expected, LogitsOf({300}, DType::kF32), "one pass, float32 cache");
  ExpectClose(expected, LogitsOf({300}, DType::kBf16), "one pass, bf16 cache");
}

TEST_P(GoldenDevicesTest, StepsAreNearTheReferenceAndThePass) {
  const std::vector<int64_t> steps(300, 1);
  const std::vector<float> expected = reference_->F32("logits");
  const std::vector<float> wide = LogitsOf(steps, DType::kF32),
                           narrow = LogitsOf(steps, DType::kBf16);
  ExpectClose(expected, wide, "steps, float32 cache");
  ExpectClose(expected, narrow, "steps, bf16 cache");
  ExpectClose(LogitsOf({300}, DType::kF32), wide, "steps to one pass, float32 cache");
  ExpectClose(LogitsOf({300}, DType::kBf16), narrow, "steps to one pass, bf16 cache");
}

TEST_P(GoldenDevicesTest, AnySplitIsNearTheReference) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<float> expected = reference_->F32("logits");
  ExpectClose(expected, LogitsOf({63, 1, 64, 65, 107}, DType::kBf16), "pieces around 64");
  for (int i = 0; i < 3; ++i)
    ExpectClose(expected, LogitsOf(RandomPieces(300, random), DType::kBf16), "random pieces");
}

// The continuation token by token behind a pass, as a reply is made.
TEST_P(GoldenDevicesTest, AContinuationIsNearTheReference) {
  const std::vector<int32_t> greedy = reference_->I32("greedy_ids");
  ids_.insert(ids_.end(), greedy.begin(), greedy.end());
  std::vector<int64_t> pieces(greedy.size() + 1, 1);
  pieces[0] = 300;
  const std::vector<float> all = LogitsOf(pieces, DType::kBf16),
                           expected = reference_->F32("greedy_logits");
  ASSERT_GT(all.size(), expected.size());
  const size_t vocab = static_cast<size_t>(model_->config().vocab_size);
  const std::vector<float> got(all.end() - static_cast<std::ptrdiff_t>(expected.size()), all.end());
  const double kl = MeanKl(expected, got, vocab);
  printf("[ measured ] %s on %s, the continuation: mean KL %.3g, top-1 agreement %.4f\n",
         std::get<0>(GetParam()), std::get<1>(GetParam()).c_str(), kl,
         TopOneAgreement(expected, got, vocab));
  EXPECT_LT(kl, kMeanKl);
}

INSTANTIATE_TEST_SUITE_P(Devices, GoldenDevicesTest,
                         ::testing::Combine(::testing::Values("tiny_a", "tiny_b"),
                                            ::testing::ValuesIn(DeviceNames())),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param);
                         });

}  // namespace
}  // namespace rill::test
