// Weights: lookups, the builder, the synthetic model's promises.
#include "model/weights/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/ops/quantize.h"
#include "tests/support/devices.h"
#include "tests/support/says.h"
#include "tests/support/tiny_config.h"

namespace rill {
namespace {

using test::OpenTestDevice;
using test::Says;
using test::TinyConfig;

class WeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenTestDevice("ref");
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }

  std::unique_ptr<const Weights> Synthesize(const std::string& recipe, uint64_t seed = 7) {
    auto weights = SynthesizeWeights(*device_, config_, *MakeRecipe(recipe), seed);
    EXPECT_TRUE(weights.ok()) << weights.status();
    return weights.ok() ? *std::move(weights) : nullptr;
  }

  ModelConfig config_ = TinyConfig();
  std::unique_ptr<Device> device_;
};

TEST_F(WeightsTest, LookupsSayWhatIsWrong) {
  const auto weights = Synthesize("q8");
  ASSERT_NE(weights, nullptr);
  EXPECT_TRUE(weights->Has("embedding"));
  EXPECT_FALSE(weights->Has("embeddings"));
  EXPECT_TRUE(absl::IsNotFound(weights->Matrix("nothing", 1, 1).status()));
  EXPECT_TRUE(Says(weights->Matrix("nothing", 1, 1).status(), "no tensor nothing"));
  const absl::Status shape = weights->Matrix("embedding", 20, 41).status();
  EXPECT_TRUE(absl::IsInvalidArgument(shape));
  EXPECT_TRUE(Says(shape, "tensor embedding is 20 x 40, expected 20 x 41"));
  EXPECT_TRUE(Says(weights->Vector("final_norm", 39).status(), "1 x 40, expected 1 x 39"));
  EXPECT_TRUE(Says(weights->Vector("embedding", 800).status(), "has role embedding"));
  EXPECT_TRUE(Says(weights->Matrix("layers.1.moe.expert.0", 24, 40).status(), "has role expert"));
  EXPECT_TRUE(absl::IsNotFound(weights->Experts("layers.0.moe.expert", 2, 40, 24).status()));
  EXPECT_TRUE(Says(weights->Experts("layers.1.moe.expert", 3, 40, 24).status(),
                   "no tensor layers.1.moe.expert.2"));
  EXPECT_TRUE(Says(weights->Experts("layers.1.moe.expert", 2, 40, 32).status(),
                   "is 24 x 40, expected 32 x 40"));
  EXPECT_EQ(weights->Vector("layers.0.kda.dt_bias", 32)->size(), 32);
  EXPECT_EQ(weights->Vector("layers.0.kda.conv_q", 128)->size(), 128);
}

TEST_F(WeightsTest, PlannedBytesAreAllThatIsAllocated) {
  for (const char* recipe : {"bf16", "q8", "q4"}) {
    const auto weights = Synthesize(recipe);
    const uint64_t planned = PlannedWeightBytes(MakeTensorTable(config_, *MakeRecipe(recipe)));
    EXPECT_EQ(weights->device_bytes(), planned);
    EXPECT_EQ(device_->allocated_bytes(), planned);
  }
  EXPECT_EQ(device_->allocated_bytes(), 0u);
}

// All bytes of a tensor, found through the lookups.
std::string BytesOf(const Weights& weights, const TensorSpec& spec) {
  const void* data = nullptr;
  if (spec.role == Role::kExpert) {
    const size_t dot = spec.name.rfind('.');
    const int e = std::stoi(spec.name.substr(dot + 1));
    const auto experts = weights.Experts(spec.name.substr(0, dot), e + 1, spec.cols, spec.rows);
    EXPECT_TRUE(experts.ok()) << experts.status();
    data = experts->record[e];
  } else {
    const auto matrix = weights.Matrix(spec.name, spec.rows, spec.cols);
    EXPECT_TRUE(matrix.ok()) << matrix.status();
    data = matrix->values;
  }
  return {static_cast<const char*>(data), spec.bytes};
}

TEST_F(WeightsTest, TheBuilderBindsWhatWasUploaded) {
  test::Random random;
  const auto table = MakeTensorTable(config_, *MakeRecipe("q4"));
  WeightsBuilder builder(*device_, table);
  ASSERT_TRUE(builder.Allocate().ok());
  std::vector<std::string> expected;
  for (const TensorSpec& spec : table) {
    std::string bytes(spec.bytes, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Bits());
    const size_t cut = random.Int(0, spec.bytes);
    EXPECT_TRUE(builder.UploadPart(spec, cut, bytes.data() + cut, spec.bytes - cut).ok());
    EXPECT_TRUE(builder.UploadPart(spec, 0, bytes.data(), cut).ok());
    EXPECT_TRUE(Says(builder.UploadPart(spec, 1, bytes.data(), spec.bytes), "passes its end at"));
    EXPECT_FALSE(builder.UploadPart(spec, ~uint64_t{0}, bytes.data(), 2).ok());
    expected.push_back(std::move(bytes));
  }
  const auto weights = builder.Build();
  ASSERT_TRUE(weights.ok()) << weights.status();
  for (size_t i = 0; i < table.size(); ++i) EXPECT_EQ(BytesOf(**weights, table[i]), expected[i]);
}

TEST_F(WeightsTest, ATensorWithoutBytesIsAnError) {
  const auto table = MakeTensorTable(config_, *MakeRecipe("q4"));
  WeightsBuilder builder(*device_, table);
  std::vector<char> bytes(1 << 20);
  for (size_t i = 0; i + 1 < table.size(); ++i) builder.UseMapped(table[i], bytes.data());
  const absl::Status status = builder.Build().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(Says(status, "tensor " + table.back().name + " has no bytes"));
}

TEST_F(WeightsTest, SharingNeedsEqualTensors) {
  WeightsBuilder builder(*device_, MakeTensorTable(config_, *MakeRecipe("q4")));
  const std::string e0 = "layers.1.moe.expert.0", e1 = "layers.1.moe.expert.1";
  EXPECT_TRUE(absl::IsNotFound(builder.Share(e1, "nothing")));
  EXPECT_TRUE(absl::IsInvalidArgument(builder.Share(e1, "embedding")));
  EXPECT_TRUE(builder.Share(e1, e0).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(builder.Share(e0, e1))) << "e1 has no bytes of its own";
}

class SyntheticTest : public WeightsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(SyntheticTest, SeedAndShapeDecideEveryByteAndThreadsNone) {
  const auto a = Synthesize(GetParam(), 7), b = Synthesize(GetParam(), 7);
  const auto c = Synthesize(GetParam(), 8);
  std::vector<std::string> seen;
  for (const TensorSpec& spec : MakeTensorTable(config_, *MakeRecipe(GetParam()))) {
    const std::string bytes = BytesOf(*a, spec);
    EXPECT_EQ(bytes, BytesOf(*b, spec)) << spec.name;
    EXPECT_NE(bytes, BytesOf(*c, spec)) << spec.name;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), bytes), 0) << spec.name << " repeats another";
    seen.push_back(bytes);
    for (int n_threads : {1, 3}) {
      auto cpu = OpenDevice("cpu", n_threads);
      if (absl::IsNotFound(cpu.status())) continue;  // a build without it
      ASSERT_TRUE(cpu.ok()) << cpu.status();
      const auto weights = SynthesizeWeights(**cpu, config_, *MakeRecipe(GetParam()), 7);
      ASSERT_TRUE(weights.ok()) << weights.status();
      EXPECT_EQ(bytes, BytesOf(**weights, spec)) << spec.name << " " << n_threads;
    }
  }
}

// Root mean square of row after row, by the definition of the formats.
double RootMeanSquare(const MatrixView& matrix) {
  double sum = 0;
  std::vector<float> row(matrix.cols);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    DequantizeRow(matrix, r, row.data());
    for (float x : row) sum += static_cast<double>(x) * x;
  }
  return std::sqrt(sum / static_cast<double>(matrix.rows * matrix.cols));
}

TEST_P(SyntheticTest, ValuesAreOfTheRightSize) {
  config_.hidden_size = 200;
  config_.vocab_size = 300;
  config_.dense_width = 170;
  const auto weights = Synthesize(GetParam());
  ASSERT_NE(weights, nullptr);
  EXPECT_NEAR(RootMeanSquare(*weights->Matrix("embedding", 300, 200)), 1.0, 0.05);
  EXPECT_NEAR(RootMeanSquare(*weights->Matrix("lm_head", 300, 200)), std::sqrt(1 / 200.0), 0.004);
  EXPECT_NEAR(RootMeanSquare(*weights->Matrix("layers.0.ffn.down", 200, 170)), std::sqrt(1 / 170.0),
              0.004);
  const auto experts = weights->Experts("layers.1.moe.expert", 2, 200, 24);
  ASSERT_TRUE(experts.ok());
  EXPECT_NEAR(RootMeanSquare(experts->Up(1)), std::sqrt(1 / 200.0), 0.006);
  EXPECT_NEAR(RootMeanSquare(experts->Down(0)), std::sqrt(1 / 24.0), 0.02);
}

TEST_P(SyntheticTest, VectorsAreInTheirRanges) {
  const auto weights = Synthesize(GetParam());
  const auto expect_within = [&](const std::string& name, int64_t n, float low, float high) {
    const auto vector = weights->Vector(name, n);
    ASSERT_TRUE(vector.ok()) << vector.status();
    const auto [least, most] = std::minmax_element(vector->f32(), vector->f32() + n);
    EXPECT_GE(*least, low) << name;
    EXPECT_LE(*most, high) << name;
    EXPECT_LT(*least, *most) << name;
  };
  expect_within("final_norm", 40, 0.9f, 1.1f);
  expect_within("layers.0.kda.o_norm", 16, 0.9f, 1.1f);
  expect_within("layers.1.mla.kv_norm", 24, 0.9f, 1.1f);
  expect_within("layers.0.kda.a_log", 2, 0.0f, 2.7726f);
  expect_within("layers.0.kda.dt_bias", 32, -6.92f, -2.24f);
  expect_within("layers.1.moe.router_bias", 2, -0.01f, 0.01f);
}

INSTANTIATE_TEST_SUITE_P(Recipes, SyntheticTest, ::testing::Values("bf16", "q8", "q4"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(WeightsTest, PaddingCodesStandForZero) {
  for (const char* recipe : {"q8", "q4"}) {
    const auto weights = Synthesize(recipe);
    const MatrixView m = *weights->Matrix("embedding", 20, 40);
    MatrixView padded = m;  // the same rows, padding counted in
    padded.cols = 64;
    std::vector<float> row(64);
    for (int64_t r = 0; r < m.rows; ++r) {
      DequantizeRow(padded, r, row.data());
      for (int i = 40; i < 64; ++i) EXPECT_EQ(row[i], 0.0f) << recipe << " " << r << " " << i;
      EXPECT_GT(std::count_if(row.begin(), row.begin() + 40, [](float x) { return x != 0; }), 30);
    }
  }
}

TEST_F(WeightsTest, SharedExpertsAreMadeOnce) {
  config_.n_experts = 5;
  const Recipe recipe = *MakeRecipe("q8");
  const auto all = SynthesizeWeights(*device_, config_, recipe, 3);
  const auto two = SynthesizeWeights(*device_, config_, recipe, 3, 2);
  ASSERT_TRUE(all.ok() && two.ok()) << two.status();
  const auto a = (*all)->Experts("layers.1.moe.expert", 5, 40, 24);
  const auto b = (*two)->Experts("layers.1.moe.expert", 5, 40, 24);
  ASSERT_TRUE(a.ok() && b.ok());
  const uint64_t bytes = MakeExpertLayout(WeightFormat::kQ8, 40, 24).bytes;
  for (int e = 0; e < 5; ++e) {
    EXPECT_EQ(b->record[e], b->record[e % 2]) << e;
    EXPECT_EQ(std::memcmp(b->record[e], a->record[e % 2], bytes), 0) << e;
  }
  EXPECT_NE(b->record[0], b->record[1]);
  EXPECT_LE((*two)->device_bytes() + 3 * bytes, (*all)->device_bytes());
}

}  // namespace
}  // namespace rill
