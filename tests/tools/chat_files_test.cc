// rill-chat and its conversations: kept in files, taken back, branched.
#include <filesystem>

#include "model/io/file.h"
#include "model/model.h"
#include "sdk/session.h"
#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using test::Lines;
using test::RunToolOn;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ChatFilesTest : public ::testing::Test {
 protected:
  ChatFilesTest() : model_(test::TinyChatModel(dir_, 6)) {}

  // Sampled on purpose: an answer depends on every token before it, on the seed and its position.
  test::ProgramResult Chat(const std::string& input, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"--model",       model_,      "--max-tokens", "10",
                                     "--temperature", "3",         "--seed",       "4",
                                     "--json",        "--commands"};
    args.insert(args.end(), more.begin(), more.end());
    return RunToolOn(input, "rill-chat", args);
  }

  // The ids of every answer, and the notes between them.
  struct Said {
    std::vector<std::vector<int>> answers;
    std::vector<std::string> notes;
  };
  static Said Parse(const test::ProgramResult& run) {
    EXPECT_EQ(run.exit_code, 0) << run.err;
    Said said;
    std::vector<int> ids;
    for (const std::string& line : Lines(run.out)) {
      const auto event = nlohmann::json::parse(line, nullptr, false);
      if (event.is_discarded()) {
        ADD_FAILURE() << line;
        continue;
      }
      if (event["event"] == "token") ids.push_back(event["id"]);
      if (event["event"] == "note") said.notes.push_back(event["text"]);
      if (event["event"] != "end") continue;
      said.answers.push_back(ids);
      ids.clear();
    }
    return said;
  }

  test::TempDir dir_;
  std::string model_;
  const std::string file_ = dir_ / "talk.rillstate";
};

TEST_F(ChatFilesTest, AResumedConversationIsOneConversation) {
  const Said at_once = Parse(Chat("one\ntwo\nthree\n"));
  ASSERT_EQ(at_once.answers.size(), 3u);
  std::vector<std::vector<int>> piecewise;
  for (const char* message : {"one\n", "two\n", "three\n"}) {
    const auto run = Chat(message, {"--resume", file_});
    for (const auto& answer : Parse(run).answers) piecewise.push_back(answer);
    const std::string told = "resumed " + file_ + ": " + std::to_string(piecewise.size() - 1);
    EXPECT_EQ(Contains(run.err, told + " message"), piecewise.size() > 1) << run.err;
  }
  EXPECT_EQ(piecewise, at_once.answers);
  const auto prompt = Chat("", {"--resume", file_, "--prompt", "four"});
  EXPECT_TRUE(Contains(prompt.err, "3 messages")) << prompt.err;
  EXPECT_EQ(Parse(prompt).answers.size(), 1u);
}

TEST_F(ChatFilesTest, WhatAFailedMessageLeavesIsKept) {
  EXPECT_EQ(Parse(Chat("one\n", {"--resume", file_, "--context", "90"})).answers.size(), 1u);
  const auto full = Chat(std::string(80, 'x') + "\n", {"--resume", file_});
  EXPECT_EQ(full.exit_code, 2);
  EXPECT_TRUE(Contains(full.err, "90")) << "the context as it was saved: " << full.err;
  const auto again = Chat("two\n", {"--resume", file_, "--context", "400"});
  EXPECT_TRUE(Contains(again.err, "1 message,")) << again.err;
  EXPECT_EQ(Parse(again).answers[0], Parse(Chat("one\ntwo\n")).answers[1]);
}

TEST_F(ChatFilesTest, SavedAndLoadedInTheMiddle) {
  const Said whole = Parse(Chat("one\ntwo\n"));
  const Said saved = Parse(Chat("one\n/save " + file_ + "\n"));
  ASSERT_EQ(saved.notes.size(), 1u);
  EXPECT_TRUE(Contains(saved.notes[0], "saved " + file_ + ": 1 message, ")) << saved.notes[0];
  const Said loaded = Parse(Chat("something else\n/load " + file_ + "\ntwo\n"));
  EXPECT_TRUE(Contains(loaded.notes.at(0), "loaded")) << loaded.notes.at(0);
  EXPECT_EQ(loaded.answers.at(1), whole.answers.at(1));
}

TEST_F(ChatFilesTest, MessagesAreTakenBack) {
  const Said said = Parse(Chat("one\ntwo\n/rewind\ntwo\n/rewind 2\none\n/rewind 1\n"));
  ASSERT_EQ(said.answers.size(), 4u);
  EXPECT_EQ(said.answers[2], said.answers[1]);
  EXPECT_EQ(said.answers[3], said.answers[0]);
  EXPECT_TRUE(Contains(said.notes.at(1), "took back 2 messages: 0 messages, 0 tokens"))
      << said.notes.at(1);
  // Also those of an earlier run.
  Parse(Chat("one\ntwo\n", {"--resume", file_}));
  EXPECT_EQ(Parse(Chat("/rewind 2\none\n", {"--resume", file_})).answers.at(0), said.answers[0]);
  const auto too_many = Chat("/rewind 2\n", {"--resume", file_});
  EXPECT_EQ(too_many.exit_code, 2);
  EXPECT_TRUE(Contains(too_many.err, "2 messages: there are 1")) << too_many.err;
}

// The file knows where its last message began: nothing is fed again to go there.
TEST_F(ChatFilesTest, TheLastMessageOfAnEarlierRunIsTakenBackForNothing) {
  Parse(Chat("one\ntwo\nthree\n", {"--resume", file_}));
  const Said said = Parse(Chat("/rewind\nthree\n", {"--resume", file_}));
  EXPECT_TRUE(Contains(said.notes.at(0), "took back 1 message: 2 messages, ")) << said.notes.at(0);
  EXPECT_TRUE(Contains(said.notes.at(0), "left, 0 tokens replayed, 0 recomputed"))
      << said.notes.at(0);
  EXPECT_EQ(said.answers.at(0), Parse(Chat("one\ntwo\nthree\n")).answers.at(2));
}

TEST_F(ChatFilesTest, BranchesGoTheirOwnWays) {
  const auto run = Chat("one\n/fork\ntwo\n/branch 1\nthree\n/branch 2\n/rewind\nthree\n/branches\n",
                        {"--resume", file_});
  const Said said = Parse(run);
  ASSERT_EQ(said.answers.size(), 4u);
  EXPECT_EQ(said.answers[3], said.answers[2]) << "the same message after the same beginning";
  EXPECT_EQ(said.answers[2], Parse(Chat("one\nthree\n")).answers[1]);
  EXPECT_TRUE(Contains(run.err, "* 2  2 messages")) << run.err;
  EXPECT_TRUE(Contains(run.err, "  1  2 messages")) << run.err;
  // The file is that of the branch one was in last.
  const Said next = Parse(Chat("four\n", {"--resume", file_}));
  EXPECT_EQ(next.answers[0], Parse(Chat("one\nthree\nfour\n")).answers[2]);
  Parse(Chat("/fork\n/branch 1\n/reset\nalone\n", {"--resume", file_}));
  EXPECT_TRUE(Contains(Chat("", {"--resume", file_}).err, ": 1 message,"));
}

TEST_F(ChatFilesTest, CommandsThatCannotBeEndAPipe) {
  for (const char* line : {"/branch 2", "/branch x", "/branch", "/rewind -1", "/rewind 1", "/save",
                           "/load", "/load /nowhere/x", "/save /nowhere/x", "/nonsense"}) {
    const auto run = Chat(std::string(line) + "\nnot answered\n");
    EXPECT_EQ(run.exit_code, 2) << line;
    EXPECT_EQ(run.out, "") << line;
    EXPECT_NE(run.err, "") << line;
  }
  EXPECT_EQ(Chat("/quit\nnot answered\n").out, "");
}

TEST_F(ChatFilesTest, AFileThatDoesNotFitIsLeftAlone) {
  Parse(Chat("one\n", {"--resume", file_}));
  const std::string before = test::ReadFile(file_);
  const test::TempDir other_dir;
  const std::string other = test::TinyChatModel(other_dir, 7);
  auto run = test::RunTool("rill-chat", {"--model", other, "--resume", file_, "--prompt", "x"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(Contains(run.err, "weights")) << run.err;
  run = Chat("x\n", {"--resume", model_});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(Chat("x\n", {"--resume", dir_ / "no folder/x"}).exit_code, 2);
  EXPECT_EQ(test::ReadFile(file_), before);

  ModelOptions options;
  const auto model = Model::Open(*FileSystem::Posix(), model_, options);
  ASSERT_TRUE(model.ok()) << model.status();
  auto session = Session::Create(*model, {});
  ASSERT_TRUE(session.ok() && (*session)->Step(3).ok());
  for (const char* notes : {"somebody else's", "{}", R"({"program":"rill-chat"})",
                            R"({"program":"rill-chat","messages":[7]})",
                            R"({"program":"rill-chat","messages":["0"]})"}) {
    ASSERT_TRUE((*session)->SetUserBlob(notes).ok());
    ASSERT_TRUE((*session)->Save(*FileSystem::Posix(), dir_ / "theirs").ok());
    run = Chat("x\n", {"--resume", dir_ / "theirs"});
    EXPECT_EQ(run.exit_code, 2) << notes;
    EXPECT_TRUE(Contains(run.err, "another program")) << run.err;
  }
  ASSERT_TRUE((*session)->SetUserBlob("").ok());
  ASSERT_TRUE((*session)->Save(*FileSystem::Posix(), dir_ / "theirs").ok());
  run = Chat("x\n/rewind 1\n", {"--resume", dir_ / "theirs"});
  EXPECT_TRUE(Contains(run.err, "0 messages, 1 token")) << run.err;
  EXPECT_TRUE(Contains(Parse(run).notes.at(0), "0 messages, 1 token left"));
}

TEST_F(ChatFilesTest, WithoutCommandsALineIsAMessage) {
  const auto run =
      RunToolOn("/save x\n", "rill-chat", {"--model", model_, "--max-tokens", "3", "--json"});
  EXPECT_EQ(Parse(run).answers.size(), 1u);
}

}  // namespace
}  // namespace rill
