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

// Positions and bytes are those of a context that was filled by prefill; the files of it are gone.
TEST_F(BenchCliTest, ContextsOfRandomRowsMeasureTheSamePositions) {
  const test::TempDir scratch;
  const auto r = RunTool("rill-bench", {"--model", model_, "--context", "700,0,70", "--tokens", "3",
                                        "--prefill", "20", "--repetitions", "3",
                                        "--synthetic-context", "--scratch", scratch.path(), "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_TRUE(scratch.Names().empty()) << "files were left behind";
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  EXPECT_EQ(json["synthetic_context"], true);
  ASSERT_EQ(json["points"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const auto& point = json["points"][i];
    const uint64_t context = i == 0 ? 0 : i == 1 ? 70 : 700;
    EXPECT_EQ(point["decode"]["from"], context);
    EXPECT_EQ(point["decode"]["to"], context + 9);
    EXPECT_EQ(point["prefill"]["from"], context);
    EXPECT_EQ(point["prefill"]["to"], context + 60);
    EXPECT_EQ(point["decode"]["cache_bytes"], (2 * context + 9) / 2 * 32 * 2);
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

// Sizes are what the shape of the model says: 1 MLA layer of rows of 32 bf16 values, a page of 128
// of which fills up to 16 KiB.
TEST_F(BenchCliTest, SessionsJsonAgreesWithItself) {
  const test::TempDir scratch;
  const auto r = RunTool("rill-bench", {"sessions", "--model", model_, "--context", "3000,300",
                                        "--repetitions", "2", "--probe-tokens", "40", "--threads",
                                        "1", "--scratch", scratch.path(), "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_TRUE(scratch.Names().empty()) << "files were left behind";
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  ASSERT_EQ(json["points"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const auto& point = json["points"][i];
    const uint64_t context = i == 0 ? 300 : 3000;
    EXPECT_EQ(point["context"], context);
    EXPECT_EQ(point["synthetic_context"], true);
    EXPECT_EQ(point["first_token"]["cold"]["projected"], false);
    EXPECT_EQ(point["first_token"]["cold_measured_tokens"], context + 16);
    EXPECT_EQ(point["first_token"]["cold_at_least"], point["first_token"]["cold"]["median"]);
    for (const char* name : {"warm", "load", "lazy_load", "disk_load", "cold"}) {
      const auto& spread = point["first_token"][name];
      EXPECT_GT(spread["least"], 0) << name;
      EXPECT_LE(spread["least"], spread["median"]) << name;
      EXPECT_GE(spread["most"], spread["median"]) << name;
    }
    EXPECT_LE(point["load"]["lazy"]["least"], point["first_token"]["lazy_load"]["least"]);
    EXPECT_GT(point["file_bytes"], context / 128 * 16384);
    const auto& memory = point["memory"];
    const double planned = memory["planned_bytes"];
    EXPECT_NEAR(memory["reserved_bytes"].get<double>(), planned, 0.01 * planned);
    EXPECT_NEAR(memory["peak_reserved_bytes"].get<double>(), planned, 0.01 * planned);
    EXPECT_NEAR(point["fork"]["reserved_bytes"].get<double>(), planned, 0.01 * planned);
  }
}

TEST_F(BenchCliTest, AFlushWritesTheTurnAndOneSlot) {
  const auto r = RunTool("rill-bench", {"sessions", "--model", model_, "--context", "1000",
                                        "--repetitions", "1", "--probe-tokens", "8", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  const auto& flush = json["points"][0]["flush"];
  EXPECT_EQ(flush["tokens"], 500);
  EXPECT_EQ(flush["page_bytes"], 4 * 16384);  // tokens 996 to 1496 fill four pages
  EXPECT_EQ(flush["token_bytes"], 2000);
  EXPECT_EQ(flush["ring_bytes"], 0);
  EXPECT_EQ(flush["rung_bytes"], 0);
  const uint64_t total = flush["total_bytes"], state = flush["state_bytes"];
  EXPECT_EQ(flush["bytes_beside_state"], total - state);
  EXPECT_LT(total - state, 5u * 16384 + 6 * 4096);
  EXPECT_GE(flush["full"]["median"], 0);
}

TEST_F(BenchCliTest, RewindsSayWhatTheyCost) {
  const auto r = RunTool("rill-bench", {"sessions", "--model", model_, "--context", "4096",
                                        "--repetitions", "1", "--probe-tokens", "8", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  const auto& rewinds = json["points"][0]["rewinds"];
  ASSERT_EQ(rewinds.size(), 4u);
  uint64_t length = 4095;
  const std::vector<uint64_t> backs = {1, 16, 64, 1024};
  for (size_t i = 0; i < backs.size(); ++i) {
    length -= backs[i];
    EXPECT_EQ(rewinds[i]["back"], backs[i]);
    const uint64_t anchor = rewinds[i]["anchor"], replayed = rewinds[i]["replayed"];
    const uint64_t recomputed = rewinds[i]["recomputed"];
    EXPECT_EQ(anchor + replayed + recomputed, length);
    EXPECT_GT(rewinds[i]["seconds"]["median"], 0);
    if (i < 3) {
      EXPECT_LE(recomputed, 1u) << "the records of the last tokens were not used";
    }
  }
}

TEST_F(BenchCliTest, WhatWouldTakeTooLongIsProjected) {
  const auto r = RunTool(
      "rill-bench", {"sessions", "--model", model_, "--context", "500", "--repetitions", "1",
                     "--probe-tokens", "8", "--cold-limit", "0", "--processor-time", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  const auto& point = json["points"][0];
  EXPECT_EQ(json["processor_time"], true);
  const auto& cold = point["first_token"]["cold"];
  EXPECT_EQ(cold["projected"], true);
  const double empty = json["empty_prefill_seconds_per_token"];
  const double here = point["prefill_seconds_per_token"];
  EXPECT_NEAR(cold["median"].get<double>() / (516 * (empty + here) / 2), 1, 1e-9);
}

// What is projected has a bound that was measured: of the tokens asked for, and where there are so
// many.
TEST_F(BenchCliTest, WhatIsProjectedIsBoundFromBelow) {
  const std::vector<std::string> args = {"sessions", "--model",       model_, "--context",
                                         "300,2000", "--repetitions", "1",    "--probe-tokens",
                                         "8",        "--cold-tokens", "700",  "--cold-limit",
                                         "0",        "--threads",     "1"};
  auto with_json = args;
  with_json.push_back("--json");
  const auto r = RunTool("rill-bench", with_json);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  const auto& shorter = json["points"][0]["first_token"];
  EXPECT_EQ(shorter["cold_measured_tokens"], 0);
  EXPECT_EQ(shorter["cold_at_least"], 0);
  const auto& longer = json["points"][1]["first_token"];
  EXPECT_EQ(longer["cold"]["projected"], true);
  EXPECT_EQ(longer["cold_measured_tokens"], 700);
  const double seconds = longer["cold_at_least"], load = longer["load"]["median"];
  EXPECT_GT(seconds, 0);
  EXPECT_NEAR(longer["cold_at_least_to_load"].get<double>() * load / seconds, 1, 1e-9);
  const auto text = RunTool("rill-bench", args);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  const size_t line = text.out.find("for its first 700 tokens, ");
  ASSERT_NE(line, std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("for its first", line + 1), std::string::npos) << text.out;
}

TEST_F(BenchCliTest, SessionsTableNamesItsContext) {
  const auto r = RunTool("rill-bench", {"sessions", "--model", model_, "--context", "200",
                                        "--repetitions", "1", "--probe-tokens", "8"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  for (const char* text : {"synthetic context: a real prefill of 160 tokens",
                           "context of 200 tokens", "beside the state slot", "of the plan"})
    EXPECT_NE(r.out.find(text), std::string::npos) << text << "\n" << r.out;
  EXPECT_EQ(r.out.find("goal 45.0 MB"), std::string::npos) << "a goal of the 48B shape";
}

TEST_F(BenchCliTest, ExitCodesTellUsageFromFailure) {
  EXPECT_EQ(RunTool("rill-bench", {"--help"}).exit_code, 0);
  EXPECT_EQ(RunTool("rill-bench", {}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", model_, "--synthetic", "48b"}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", model_, "--tokens", "0", "--prefill", "0"}).exit_code,
            1);
  EXPECT_EQ(RunTool("rill-bench", {"--model", dir_ / "absent.rill"}).exit_code, 2);
  EXPECT_EQ(RunTool("rill-bench", {"sessions", "--help"}).exit_code, 0);
  EXPECT_EQ(RunTool("rill-bench", {"sessions"}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-bench", {"sessions", "--model", model_, "--context", "15"}).exit_code, 1);
  EXPECT_EQ(
      RunTool("rill-bench", {"sessions", "--model", model_, "--scratch", "/nowhere"}).exit_code, 2);
}

}  // namespace
}  // namespace rill
