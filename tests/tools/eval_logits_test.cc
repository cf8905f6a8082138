// The rill-eval program on the golden checkpoints: what it writes is what the independent reference
// computed.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <tuple>

#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using test::ConvertTo;
using test::Reference;
using test::RunTool;
using test::TempDir;

std::string Golden(const std::string& name) {
  return std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name;
}

void WriteIds(const std::string& path, const std::vector<int32_t>& ids) {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i)
    text += std::to_string(ids[i]) + (i % 7 == 6 ? "\n" : " ");
  test::WriteFile(path, text);
}

std::vector<float> ReadRows(const std::string& path) {
  const std::string bytes = test::ReadFile(path);
  EXPECT_EQ(bytes.size() % sizeof(float), 0u);
  std::vector<float> rows(bytes.size() / sizeof(float));
  std::memcpy(rows.data(), bytes.data(), rows.size() * sizeof(float));
  return rows;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // keeps a NaN
  }
  return largest;
}

class EvalGoldenTest
    : public ::testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

TEST_P(EvalGoldenTest, LogitsAreTheReferences) {
  const auto [checkpoint, device, prefill] = GetParam();
  TempDir dir;
  const Reference reference(Golden(checkpoint) + "/reference.safetensors");
  WriteIds(dir / "ids", reference.I32("input_ids"));
  std::vector<std::string> args = {
      "logits",          "--model",   ConvertTo(dir, Golden(checkpoint), "bf16"),
      "--ids",           dir / "ids", "--out",
      dir / "logits",    "--device",  device,
      "--prefill-chunk", "96"};
  if (std::string(prefill) != "all") args.insert(args.end(), {"--prefill", prefill});
  const auto r = RunTool("rill-eval", args);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.out, "");
  const std::vector<float> expected = reference.F32("logits");
  const std::vector<float> rows = ReadRows(dir / "logits");
  ASSERT_EQ(rows.size(), expected.size());
  EXPECT_LE(LargestDifference(rows, expected), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, EvalGoldenTest,
                         ::testing::Combine(::testing::Values("tiny_a", "tiny_b"),
                                            ::testing::Values("ref", "cpu"),
                                            ::testing::Values("all", "0", "1", "97", "299")));

class EvalFailureTest : public ::testing::Test {
 protected:
  EvalFailureTest() : model_(test::TinyChatModel(dir_, 3)) {}

  // Runs on ids that are `text`; nothing may be left where the output should have been.
  test::ProgramResult Logits(const std::string& text) {
    test::WriteFile(dir_ / "ids", text);
    const auto before = dir_.Names();
    auto r = RunTool("rill-eval",
                     {"logits", "--model", model_, "--ids", dir_ / "ids", "--out", dir_ / "out"});
    EXPECT_EQ(dir_.Names(), before);
    EXPECT_EQ(r.exit_code, 2);
    EXPECT_EQ(r.out, "");
    return r;
  }

  TempDir dir_;
  std::string model_;
};

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(EvalFailureTest, BadTokensAreNamed) {
  auto r = Logits("1 2 12x 3");
  EXPECT_TRUE(Contains(r.err, "token 2 is \"12x\"")) << r.err;
  r = Logits("1 2\n300\n");
  EXPECT_TRUE(Contains(r.err, "token 2 is \"300\"")) << r.err;
  EXPECT_TRUE(Contains(r.err, "vocabulary of 300")) << r.err;
  r = Logits("-1");
  EXPECT_TRUE(Contains(r.err, "token 0 is \"-1\"")) << r.err;
  r = Logits("99999999999999999999");
  EXPECT_TRUE(Contains(r.err, "\"99999999999999999999\"")) << r.err;
  r = Logits(" \n ");
  EXPECT_TRUE(Contains(r.err, "no token ids")) << r.err;
}

TEST_F(EvalFailureTest, AnEarlierOutputSurvivesAFailure) {
  test::WriteFile(dir_ / "out", "old");
  test::WriteFile(dir_ / "ids", "oops");
  const auto r = RunTool(
      "rill-eval", {"logits", "--model", model_, "--ids", dir_ / "ids", "--out", dir_ / "out"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_EQ(test::ReadFile(dir_ / "out"), "old");
}

TEST_F(EvalFailureTest, ExitCodesTellUsageFromFailure) {
  EXPECT_EQ(RunTool("rill-eval", {"--help"}).exit_code, 0);
  EXPECT_EQ(RunTool("rill-eval", {}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-eval", {"logits", "--model", model_}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-eval",
                    {"logits", "--model", model_, "--ids", "x", "--out", "y", "--prefill", "-3"})
                .exit_code,
            1);
  const auto r = RunTool("rill-eval", {"logits", "--model", dir_ / "absent.rill", "--ids", "x",
                                       "--out", dir_ / "out"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_TRUE(Contains(r.err, "absent.rill")) << r.err;
}

TEST_F(EvalFailureTest, PerplexityOfRandomWeightsIsNearTheVocabulary) {
  std::mt19937_64 random(5);
  test::WriteFile(dir_ / "text", RandomText(random, 400));
  const auto r = RunTool("rill-eval", {"perplexity", "--model", model_, "--text", dir_ / "text",
                                       "--window", "64", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  const int64_t tokens = json["tokens"], windows = json["windows"];
  EXPECT_EQ(windows, (tokens + 63) / 64);
  EXPECT_GE(json["scored_tokens"].get<int64_t>(), tokens - windows);
  EXPECT_NEAR(std::log(json["perplexity"].get<double>()), json["mean_nll"].get<double>(), 1e-9);
  EXPECT_GT(json["perplexity"].get<double>(), 100);
  EXPECT_LT(json["perplexity"].get<double>(), 1000);
}

// The losses computed here from the logits that the other command writes.
TEST_F(EvalFailureTest, PerplexityIsThatOfTheLogits) {
  const std::string text = "The same bytes, scored twice.";
  test::WriteFile(dir_ / "text", text);
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  WriteIds(dir_ / "ids", ids);
  ASSERT_EQ(RunTool("rill-eval",
                    {"logits", "--model", model_, "--ids", dir_ / "ids", "--out", dir_ / "rows"})
                .exit_code,
            0);
  const std::vector<float> rows = ReadRows(dir_ / "rows");
  ASSERT_EQ(rows.size(), ids.size() * 300);
  double nll = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    double sum = 0;
    for (size_t v = 0; v < 300; ++v) sum += std::exp(static_cast<double>(rows[i * 300 + v]));
    nll += std::log(sum) - rows[i * 300 + static_cast<size_t>(ids[i + 1])];
  }
  const auto r =
      RunTool("rill-eval", {"perplexity", "--model", model_, "--text", dir_ / "text", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_EQ(json["scored_tokens"], ids.size() - 1);
  EXPECT_NEAR(json["mean_nll"].get<double>(), nll / static_cast<double>(ids.size() - 1), 1e-6);
}

}  // namespace
}  // namespace rill
