// The rill-bench program: its JSON is whole, its numbers agree with each other and with the shape
// of the model.
#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using test::RunTool;

class BenchCliTest : public ::testing::Test {
 protected:
  BenchCliTest() : model_(test::TinyChatModel(dir_, 4)) {}
  test::TempDir dir_;
  std::string model_;
};

TEST_F(BenchCliTest, JsonAgreesWithItself) {
  const auto r =
      RunTool("rill-bench", {"--model", model_, "--context", "70,0", "--tokens", "3", "--prefill",
                             "20", "--repetitions", "3", "--threads", "1", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  EXPECT_EQ(json["threads"], 1);
  const double peak = json["bandwidth_bytes_per_second"];
  EXPECT_GT(peak, 1e8);
  ASSERT_EQ(json["points"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const auto& point = json["points"][i];
    const uint64_t context = i == 0 ? 0 : 70;
    EXPECT_EQ(point["context"], context);
    const auto& decode = point["decode"];
    EXPECT_EQ(decode["from"], context);
    EXPECT_EQ(decode["to"], context + 9);
    EXPECT_EQ(point["prefill"]["from"], context);
    EXPECT_EQ(point["prefill"]["to"], context + 60);
    EXPECT_LE(decode["least"], decode["seconds_per_token"]);
    EXPECT_GE(decode["most"], decode["seconds_per_token"]);
    const double seconds = decode["seconds_per_token"], bytes = decode["bytes_per_token"];
    EXPECT_GT(seconds, 0);
    EXPECT_NEAR(decode["tokens_per_second"].get<double>() * seconds, 1, 1e-9);
    EXPECT_NEAR(decode["bandwidth_fraction"].get<double>() * seconds * peak / bytes, 1, 1e-9);
    EXPECT_EQ(decode["bytes_per_token"], decode["weight_bytes"].get<uint64_t>() +
                                             decode["state_bytes"].get<uint64_t>() +
                                             decode["cache_bytes"].get<uint64_t>());
    // One MLA layer of rows of 24 + 8 values in bf16.
    EXPECT_EQ(decode["cache_bytes"], (2 * context + 9) / 2 * 32 * 2);
  }
}

TEST_F(BenchCliTest, TableHasALineAContext) {
  const auto r = RunTool("rill-bench", {"--model", model_, "--context", "0,5", "--tokens", "2",
                                        "--prefill", "0", "--repetitions", "1"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto lines = test::Lines(r.out);
  ASSERT_EQ(lines.size(), 7u) << r.out;
  EXPECT_EQ(lines[5].substr(0, 9), "        0") << r.out;
  EXPECT_EQ(lines[6].substr(0, 9), "        5") << r.out;
}

TEST_F(BenchCliTest, ExitCodesTellUsageFromFailure) {
  EXPECT_EQ(RunTool("rill-bench", {"--help"}).exit_code, 0);
  EXPECT_EQ(RunTool("rill-bench", {}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", model_, "--synthetic", "48b"}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", model_, "--tokens", "0", "--prefill", "0"}).exit_code,
            1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", dir_ / "absent.rill"}).exit_code, 2);
}

}  // namespace
}  // namespace rill
