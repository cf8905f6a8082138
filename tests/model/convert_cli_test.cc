// Drives the rill-convert program: exit codes and what it prints where.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/support/run_program.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

namespace rill {
namespace {

using test::ProgramResult;
using test::TempDir;
using test::TinyCheckpoint;

ProgramResult RillConvert(std::vector<std::string> args) {
  args.insert(args.begin(), std::string(RILL_BINARY_DIR) + "/bin/rill-convert");
  return test::RunProgram(args);
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t Lines(const std::string& text) {
  return std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty())).size();
}

class ConvertCliTest : public ::testing::Test {
 protected:
  ConvertCliTest() { TinyCheckpoint({}, 1).Write(in_.path(), 2, true); }
  TempDir in_, out_;
};

TEST_F(ConvertCliTest, ConvertsAndSums) {
  const auto r = RillConvert(
      {"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q4", "--threads", "2"});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(out_.Names(), std::set<std::string>{"m.rill"});
  for (const char* part :
       {"embedding", "expert", "q4", "exact", "worst tensor", "m.rill", " bytes) in "}) {
    EXPECT_TRUE(Contains(r.out, part)) << part << "\n" << r.out;
  }
  const auto size = std::to_string(std::filesystem::file_size(out_ / "m.rill"));
  EXPECT_TRUE(Contains(r.out, "(" + size + " bytes)")) << r.out;
  // In a pipe: progress in plain lines, then one note that the tokenizer is not there.
  EXPECT_TRUE(Contains(r.err, "rill-convert 100%")) << r.err;
  EXPECT_FALSE(Contains(r.err, "\r")) << r.err;
  EXPECT_TRUE(Contains(r.err, "note: no tiktoken.model and no tokenizer_config.json")) << r.err;
  EXPECT_LE(Lines(r.err), 12u) << r.err;
}

TEST_F(ConvertCliTest, JsonSummaryIsAllOfStdout) {
  const auto r =
      RillConvert({"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q8", "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << r.out;
  EXPECT_EQ(json["output"], out_ / "m.rill");
  EXPECT_EQ(json["format"], "q8");
  EXPECT_EQ(json["file_bytes"], std::filesystem::file_size(out_ / "m.rill"));
  EXPECT_EQ(json["notes"].size(), 1u);
  uint64_t bytes = 0;
  bool saw_expert = false;
  for (const auto& role : json["roles"]) {
    bytes += role["bytes"].get<uint64_t>();
    const double error = role["relative_rms_error"];
    if (role["format"] == "q8") {
      EXPECT_GT(error, 0.001) << role;
      EXPECT_LT(error, 0.01) << role;
      EXPECT_GE(role["worst_relative_rms_error"].get<double>(), error * (1 - 1e-12)) << role;
      EXPECT_NE(role["worst_tensor"], "") << role;
    } else {
      EXPECT_EQ(error, 0) << role;
    }
    saw_expert |= role["role"] == "expert";
  }
  EXPECT_TRUE(saw_expert);
  EXPECT_EQ(json["tensor_bytes"], bytes);
  EXPECT_GT(json["seconds"].get<double>(), 0);
}

TEST_F(ConvertCliTest, PlanConvertsNothing) {
  const auto text = RillConvert({"--input", in_.path(), "--format", "q4", "--plan"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"layers.0.kda.q", "layers.2.mla.kv_b", "layers.1.moe.expert.0..3",
                           "3 x 24 x 32", "bytes)"}) {
    EXPECT_TRUE(Contains(text.out, part)) << part << "\n" << text.out;
  }
  EXPECT_FALSE(Contains(text.err, "%")) << text.err;
  const auto listed = RillConvert(
      {"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q4", "--plan", "--json"});
  ASSERT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_TRUE(out_.Names().empty());
  const auto plan = nlohmann::json::parse(listed.out, nullptr, false);
  ASSERT_FALSE(plan.is_discarded()) << listed.out;
  ASSERT_EQ(
      RillConvert({"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q4"}).exit_code,
      0);
  EXPECT_EQ(plan["file_bytes"], std::filesystem::file_size(out_ / "m.rill"));
  uint64_t bytes = 0, experts = 0;
  for (const auto& tensor : plan["tensors"]) {
    bytes += tensor["bytes"].get<uint64_t>();
    experts += tensor["role"] == "expert";
  }
  EXPECT_EQ(plan["tensor_bytes"], bytes);
  EXPECT_EQ(experts, 12u);
}

TEST_F(ConvertCliTest, HelpNamesEveryOption) {
  const auto r = RillConvert({"--help"});
  EXPECT_EQ(r.exit_code, 0);
  EXPECT_EQ(r.err, "");
  for (const char* part :
       {"--input", "--output", "--format", "--threads", "--plan", "--json", "bf16", "Exit codes"}) {
    EXPECT_TRUE(Contains(r.out, part)) << part << "\n" << r.out;
  }
}

TEST_F(ConvertCliTest, WrongUsageIsOne) {
  const std::string in = in_.path(), out = out_ / "m.rill";
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"--input", in, "--format", "q4"},    // no output
      {"--input", in, "--output", out},     // no format
      {"--output", out, "--format", "q4"},  // no input
      {"--input", in, "--output", out, "--format", "q5"},
      {"--input", in, "--output", out, "--format", "q4", "--threads", "-1"},
      {"--input", in, "--output", out, "--format", "q4", "--threads", "many"},
      {"--input", in, "--output", out, "--format", "q4", "--fast"},
      {"--input", in, "--output", out, "--format"},
      {in, out},
  };
  for (const auto& args : wrong) {
    const auto r = RillConvert(args);
    EXPECT_EQ(r.exit_code, 1) << ::testing::PrintToString(args) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_NE(r.err, "");
  }
  EXPECT_TRUE(out_.Names().empty());
}

TEST_F(ConvertCliTest, FailureIsTwoAndOneLine) {
  struct Case {
    std::vector<std::string> args;
    std::string message;
  };
  const std::string nowhere = in_ / "nowhere";
  test::WriteFile(in_ / TinyCheckpoint::ShardName(1, 2), "short");
  for (const Case& c :
       {Case{{"--input", nowhere, "--output", out_ / "m.rill", "--format", "q4"}, nowhere},
        Case{{"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q4"},
             "model-00002-of-00002.safetensors: "},
        Case{{"--input", in_.path(), "--format", "q4", "--plan", "--json"},
             "model-00002-of-00002.safetensors: "}}) {
    const auto r = RillConvert(c.args);
    EXPECT_EQ(r.exit_code, 2);
    EXPECT_EQ(r.out, "");
    EXPECT_EQ(Lines(r.err), 1u) << r.err;
    EXPECT_TRUE(r.err.starts_with("rill-convert: ")) << r.err;
    EXPECT_TRUE(Contains(r.err, c.message)) << r.err;
  }
  EXPECT_TRUE(out_.Names().empty());
}

TEST_F(ConvertCliTest, BadWeightIsNamedAfterTheProgress) {
  TinyCheckpoint checkpoint({}, 1);
  checkpoint.tensors["lm_head.weight"].bytes.replace(0, 2, "\x80\xff");  // minus infinity
  checkpoint.Write(in_.path(), 2, true);
  const auto r =
      RillConvert({"--input", in_.path(), "--output", out_ / "m.rill", "--format", "q4"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_TRUE(Contains(r.err, "rill-convert: tensor lm_head.weight (model-0000")) << r.err;
  EXPECT_TRUE(Contains(r.err, "element 0 (row 0, column 0) is infinite\n")) << r.err;
  EXPECT_TRUE(out_.Names().empty());
}

}  // namespace
}  // namespace rill
