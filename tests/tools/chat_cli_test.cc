// The rill-chat program away from a terminal: what goes to stdout, what to stderr, how it ends.
#include <set>

#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using test::Lines;
using test::RunTool;
using test::RunToolOn;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ChatCliTest : public ::testing::Test {
 protected:
  ChatCliTest() : model_(test::TinyChatModel(dir_, 6)) {}

  // Random weights seldom end a reply by themselves.
  std::vector<std::string> Args(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {"--model", model_, "--max-tokens", "12", "--temperature", "0"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  // The events of a run with --json, which must be all of stdout.
  std::vector<nlohmann::json> Events(const std::string& out) {
    std::vector<nlohmann::json> events;
    for (const std::string& line : Lines(out)) {
      events.push_back(nlohmann::json::parse(line, nullptr, false));
      EXPECT_FALSE(events.back().is_discarded()) << line;
    }
    return events;
  }

  test::TempDir dir_;
  std::string model_;
};

// The text of every answer, put together from its events.
std::vector<std::string> Answers(const std::vector<nlohmann::json>& events) {
  std::vector<std::string> answers;
  std::string text;
  for (const auto& event : events) {
    text += event["text"].get<std::string>();
    if (event["event"] != "end") continue;
    answers.push_back(text);
    text.clear();
  }
  return answers;
}

TEST_F(ChatCliTest, EveryLineIsAMessageAndOnlyAnswersGoToStdout) {
  const std::string input = "hello\n\n/stats is no command here\nlast, without a line feed";
  const auto json = RunToolOn(input, "rill-chat", Args({"--json"}));
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const auto answers = Answers(Events(json.out));
  ASSERT_EQ(answers.size(), 3u) << json.out;
  const auto text = RunToolOn(input, "rill-chat", Args({}));
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, answers[0] + "\n" + answers[1] + "\n" + answers[2] + "\n");
  EXPECT_EQ(text.err, "");
}

TEST_F(ChatCliTest, EventsCountTheTokensAndTheirPositions) {
  const auto r = RunToolOn("one\ntwo\n", "rill-chat", Args({"--json"}));
  ASSERT_EQ(r.exit_code, 0) << r.err;
  uint64_t length = 0, tokens = 0, ends = 0;
  bool first = true;
  for (const auto& event : Events(r.out)) {
    if (event["event"] == "token") {
      if (first) length = event["position"];
      first = false;
      EXPECT_EQ(event["position"], length++);
      EXPECT_LE(event["logprob"].get<double>(), 0);
      EXPECT_GE(event["id"].get<int>(), 0);
      ++tokens;
      continue;
    }
    ASSERT_EQ(event["event"], "end");
    EXPECT_EQ(event["tokens"], tokens);
    EXPECT_GT(event["prompt_tokens"].get<int>(), 0);
    EXPECT_GT(event["decode_tokens_per_second"].get<double>(), 0);
    const std::string finish = event["finish"];
    EXPECT_TRUE(finish == "max_tokens" || finish == "stop_token") << finish;
    EXPECT_LE(tokens, 12u);
    EXPECT_EQ(tokens == 12u, finish == "max_tokens");
    tokens = 0;
    first = true;
    ++ends;
  }
  EXPECT_EQ(ends, 2u);
}

TEST_F(ChatCliTest, APromptIsAnsweredOnce) {
  const auto piped = RunToolOn("hello\n", "rill-chat", Args({}));
  const auto r = RunToolOn("not read\n", "rill-chat", Args({"--prompt", "hello"}));
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.out, piped.out);
}

TEST_F(ChatCliTest, ASeedDecidesAndASystemMessageMatters) {
  const auto say = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--prompt", "hello", "--temperature", "1.5"});
    const auto r = RunTool("rill-chat", [&] {
      std::vector<std::string> args = {"--model", model_, "--max-tokens", "24", "--json"};
      args.insert(args.end(), more.begin(), more.end());
      return args;
    }());
    EXPECT_EQ(r.exit_code, 0) << r.err;
    std::vector<int> ids;
    for (const auto& event : Events(r.out)) {
      if (event["event"] == "token") ids.push_back(event["id"]);
    }
    return ids;
  };
  const auto once = say({"--seed", "7"});
  EXPECT_EQ(say({"--seed", "7"}), once);
  EXPECT_EQ(say({"--seed", "7", "--threads", "1"}), once);
  EXPECT_NE(say({"--seed", "8"}), once);
  EXPECT_NE(say({"--seed", "7", "--system", "be brief"}), once);
  EXPECT_NE(say({"--seed", "7", "--top-k", "1"}), once);
}

TEST_F(ChatCliTest, AFullContextIsAnErrorWithBothNumbers) {
  const auto r =
      RunToolOn("a message of more than ten tokens\n", "rill-chat", Args({"--context", "10"}));
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_EQ(r.out, "");
  EXPECT_TRUE(Contains(r.err, "10")) << r.err;
  EXPECT_EQ(Lines(r.err).size(), 1u) << r.err;
  const auto json = RunToolOn("a message of more than ten tokens\n", "rill-chat",
                              Args({"--context", "10", "--json"}));
  EXPECT_EQ(json.exit_code, 2);
  const auto events = Events(json.out);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["event"], "error");
}

TEST_F(ChatCliTest, BytesThatAreNoTextAreNoReasonToStop) {
  const auto r = RunToolOn("caf\xe9 \xff\n", "rill-chat", Args({"--json"}));
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(Answers(Events(r.out)).size(), 1u);
}

TEST_F(ChatCliTest, ExitCodesTellUsageFromFailure) {
  const auto help = RunTool("rill-chat", {"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* flag :
       {"--system", "--temperature", "--top-k", "--top-p", "--min-p", "--repeat-penalty", "--seed",
        "--max-tokens", "--threads", "--device", "--context", "--json", "--resume", "--commands"}) {
    EXPECT_TRUE(Contains(help.out, flag)) << flag;
  }
  EXPECT_EQ(RunTool("rill-chat", {}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-chat", {"--model", model_, "--top-p", "2"}).exit_code, 1);
  EXPECT_EQ(RunTool("rill-chat", {"--model", model_, "--unknown"}).exit_code, 1);
  auto r = RunTool("rill-chat", {"--model", dir_ / "absent.rill"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_TRUE(Contains(r.err, "absent.rill")) << r.err;
  r = RunTool("rill-chat", Args({"--device", "abacus"}));
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_TRUE(Contains(r.err, "abacus")) << r.err;
  EXPECT_EQ(RunTool("rill-chat", Args({})).exit_code, 0);  // nothing on stdin: nothing to answer
}

}  // namespace
}  // namespace rill
