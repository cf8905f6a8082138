// The rill-session program on files that rill-chat made.
#include <filesystem>

#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using test::RunTool;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class SessionCliTest : public ::testing::Test {
 protected:
  SessionCliTest() : model_(test::TinyChatModel(dir_, 6)) {}

  // Several turns that are taken back again, so that something is superseded.
  void Talk(const std::string& input) const {
    const auto run =
        test::RunToolOn(input, "rill-chat",
                        {"--model", model_, "--max-tokens", "9", "--resume", file_, "--commands"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
  }
  static nlohmann::json Json(const std::vector<std::string>& args) {
    std::vector<std::string> all = args;
    all.push_back("--json");
    const auto run = RunTool("rill-session", all);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  }

  test::TempDir dir_;
  std::string model_;
  const std::string file_ = dir_ / "talk.rillstate";
};

TEST_F(SessionCliTest, InspectSaysWhatIsThere) {
  Talk("one\ntwo\n");
  const auto json = Json({"inspect", file_});
  EXPECT_EQ(json["file"], file_);
  EXPECT_EQ(json["revision"], 3) << "made empty, then two answers";
  EXPECT_GT(json["tokens"].get<int>(), 20);
  EXPECT_EQ(json["file_bytes"], std::filesystem::file_size(file_));
  EXPECT_GT(json["user_bytes"].get<int>(), 0) << "where the messages begin";
  EXPECT_EQ(json["quantization"], "bf16");
  EXPECT_EQ(json["weights"].get<std::string>().size(), 64u);
  EXPECT_EQ(json["unfinished_flush"], false);
  const auto text = RunTool("rill-session", {"inspect", file_});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_EQ(text.err, "");
  EXPECT_TRUE(Contains(text.out, std::to_string(json["tokens"].get<int>()))) << text.out;
  EXPECT_TRUE(Contains(text.out, json["weights"].get<std::string>().substr(0, 16))) << text.out;
}

TEST_F(SessionCliTest, VerifyFindsTheDamagedOne) {
  Talk("one\n");
  const std::string good = test::ReadFile(file_);
  std::string bad = good;
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 4);
  test::WriteFile(dir_ / "bad", bad);
  auto run = RunTool("rill-session", {"verify", file_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, file_ + ": whole\n");
  EXPECT_EQ(run.err, "") << "progress is for terminals";
  run = RunTool("rill-session", {"verify", dir_ / "bad", file_});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, file_ + ": whole\n") << "the others are looked at all the same";
  EXPECT_TRUE(Contains(run.err, dir_ / "bad")) << run.err;
  EXPECT_EQ(Json({"verify", file_})["whole"], true);
}

TEST_F(SessionCliTest, CompactMakesItSmallerAndTheSame) {
  Talk("one\n/rewind\none and more\n/rewind\none again\n/rewind\nlast\n");
  const auto before = Json({"inspect", file_});
  EXPECT_GT(before["superseded"].get<int>(), 0);
  const auto report = Json({"compact", file_, "-o", dir_ / "small"});
  EXPECT_EQ(report["bytes_before"], before["file_bytes"]);
  const auto after = Json({"inspect", dir_ / "small"});
  EXPECT_EQ(after["superseded"], 0);
  EXPECT_EQ(after["ledger"], before["ledger"]);
  EXPECT_LT(after["file_bytes"].get<int>(), before["file_bytes"].get<int>());
  EXPECT_EQ(report["bytes"], after["file_bytes"]);
  EXPECT_EQ(RunTool("rill-session", {"compact", "--bare", file_}).exit_code, 0);
  const auto bare = Json({"inspect", file_});
  EXPECT_EQ(bare["checkpoints"], 0);
  EXPECT_EQ(bare["ledger"], before["ledger"]);
  Talk("it goes on\n");
}

TEST_F(SessionCliTest, DiffSaysWhereTwoPartWays) {
  Talk("one\n");
  std::filesystem::copy_file(file_, dir_ / "a");
  Talk("two\n");
  const auto json = Json({"diff", dir_ / "a", file_});
  EXPECT_EQ(json["common_tokens"], json["tokens"][0]);
  EXPECT_GT(json["tokens"][1].get<int>(), json["tokens"][0].get<int>());
  EXPECT_TRUE(json["identity"].empty());
  const auto text = RunTool("rill-session", {"diff", dir_ / "a", file_});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_TRUE(Contains(text.out, "of the same model")) << text.out;
}

TEST_F(SessionCliTest, ExitCodesTellUsageFromFailure) {
  const auto help = RunTool("rill-session", {"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* name : {"inspect", "verify", "compact", "diff"}) {
    EXPECT_TRUE(Contains(help.out, name)) << name;
    EXPECT_EQ(RunTool("rill-session", {name, "--help"}).exit_code, 0);
    EXPECT_EQ(RunTool("rill-session", {name}).exit_code, 1) << name << " without a file";
    const std::string missing = dir_ / "missing";
    std::vector<std::string> args = {name, missing};
    if (std::string(name) == "diff") args.push_back(missing);
    const auto run = RunTool("rill-session", args);
    EXPECT_EQ(run.exit_code, 2) << name;
    EXPECT_TRUE(Contains(run.err, "missing")) << run.err;
    EXPECT_EQ(test::Lines(run.err).size(), 1u) << run.err;
    EXPECT_EQ(run.out, "");
    args[1] = model_;
    if (args.size() > 2) args[2] = model_;
    EXPECT_EQ(RunTool("rill-session", args).exit_code, 2) << name << " of a model file";
  }
  EXPECT_EQ(RunTool("rill-session", {}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-session", {"frobnicate", "x"}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-session", {"diff", model_}).exit_code, 1);
}

}  // namespace
}  // namespace rill
