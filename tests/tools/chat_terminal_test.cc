// The rill-chat program on a terminal: prompts, commands, Ctrl-C.
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "tests/tools/tool_case.h"

namespace rill {
namespace {

// A program whose stdin, stdout and stderr are one terminal.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& argv) {
    child_ = forkpty(&master_, nullptr, nullptr, nullptr);
    if (child_ != 0) return;
    std::vector<char*> args;
    for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    execv(args[0], args.data());
    _exit(127);
  }
  ~Terminal() {
    if (child_ > 0 && !waited_) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(master_);
  }

  void Type(const std::string& keys) {
    EXPECT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // Reads until `text` was shown; what came before it is forgotten. False after 20 seconds or the
  // program's end.
  bool WaitFor(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      const size_t at = shown_.find(text);
      if (at != std::string::npos) {
        shown_.erase(0, at + text.size());
        return true;
      }
      if (std::chrono::steady_clock::now() > deadline || !ReadSome()) {
        ADD_FAILURE() << "no \"" << text << "\" in \"" << shown_ << "\"";
        return false;
      }
    }
  }

  // What is shown before the next `text`.
  std::string UpTo(const std::string& text) {
    while (shown_.find(text) == std::string::npos && ReadSome()) {
    }
    return shown_.substr(0, shown_.find(text));
  }

  // The exit code, -1 when a signal ended it.
  int Wait() {
    while (ReadSome()) {
    }
    int status = 0;
    waited_ = waitpid(child_, &status, 0) == child_;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool ReadSome() {
    pollfd ready{master_, POLLIN, 0};
    if (poll(&ready, 1, 20'000) <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(master_, buffer, sizeof buffer);
    if (n > 0) shown_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int master_ = -1;
  pid_t child_ = -1;
  bool waited_ = false;
  std::string shown_;
};

constexpr char kCtrlC[] = "\x03", kCtrlD[] = "\x04";

class ChatTerminalTest : public ::testing::Test {
 protected:
  ChatTerminalTest() : model_(test::TinyChatModel(dir_, 8)) {}

  std::vector<std::string> Args(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {test::Program("rill-chat"), "--model", model_, "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  test::TempDir dir_;
  std::string model_;
};

// How an answer ended that was stopped as soon as it had begun.
std::string FinishAfterCtrlC(Terminal& t) {
  t.Type("hello\n");
  if (!t.WaitFor("\"event\":\"token\"")) return "";
  t.Type(kCtrlC);
  if (!t.WaitFor("\"finish\":\"")) return "";
  return t.UpTo("\"");
}

TEST_F(ChatTerminalTest, CtrlCStopsTheAnswerAndKeepsTheConversation) {
  Terminal t(Args({"--context", "1000000", "--temperature", "50"}));
  ASSERT_TRUE(t.WaitFor("> "));
  // An answer may draw its stop token just before; at this temperature that is one in a hundred
  // tokens.
  std::string finish;
  for (int attempt = 0; attempt < 10 && finish != "interrupted"; ++attempt) {
    finish = FinishAfterCtrlC(t);
    ASSERT_TRUE(finish == "interrupted" || finish == "stop_token") << finish;
    ASSERT_TRUE(t.WaitFor("> "));
  }
  EXPECT_EQ(finish, "interrupted");
  t.Type("/stats\n");
  ASSERT_TRUE(t.WaitFor("of 1000000 tokens"));
  t.Type("/quit\n");
  EXPECT_EQ(t.Wait(), 0);
}

TEST_F(ChatTerminalTest, CtrlCAndCtrlDAtThePromptLeave) {
  for (const char* key : {kCtrlC, kCtrlD}) {
    Terminal t(Args({}));
    ASSERT_TRUE(t.WaitFor("> "));
    t.Type(key);
    EXPECT_EQ(t.Wait(), 0);
  }
}

TEST_F(ChatTerminalTest, CommandsAreObeyedAndResetForgets) {
  Terminal t(Args({"--max-tokens", "3"}));
  ASSERT_TRUE(t.WaitFor("> "));
  t.Type("/help\n");
  ASSERT_TRUE(t.WaitFor("/reset"));
  t.Type("/nonsense\n");
  ASSERT_TRUE(t.WaitFor("no command /nonsense"));
  t.Type("hello\n");
  ASSERT_TRUE(t.WaitFor("\"event\":\"end\""));
  t.Type("/reset\n/stats\n");
  ASSERT_TRUE(t.WaitFor("context  0 of 4096 tokens"));
  t.Type("/quit\n");
  EXPECT_EQ(t.Wait(), 0);
}

TEST_F(ChatTerminalTest, AFailedCommandIsShownAndTheTalkGoesOn) {
  const std::vector<std::string> args =
      Args({"--max-tokens", "3", "--resume", dir_ / "talk.rillstate"});
  {
    Terminal t(args);
    ASSERT_TRUE(t.WaitFor("> "));
    t.Type("hello\n");
    ASSERT_TRUE(t.WaitFor("\"event\":\"end\""));
    t.Type("/fork\n");
    ASSERT_TRUE(t.WaitFor("branch 2: 1 message"));
    t.Type("/rewind\n");
    ASSERT_TRUE(t.WaitFor("took back 1 message"));
    t.Type("/branches\n");
    ASSERT_TRUE(t.WaitFor("* 2  0 messages"));
    t.Type("/branch 9\n");
    ASSERT_TRUE(t.WaitFor("no branch 9"));
    t.Type("/load /nowhere/x\n");
    ASSERT_TRUE(t.WaitFor("/nowhere/x"));
    t.Type("/branch 1\n");
    ASSERT_TRUE(t.WaitFor("branch 1: 1 message"));
    t.Type("again\n");
    ASSERT_TRUE(t.WaitFor("\"event\":\"end\""));
    t.Type(kCtrlD);
    EXPECT_EQ(t.Wait(), 0);
  }
  Terminal t(args);
  ASSERT_TRUE(t.WaitFor("talk.rillstate: 2 messages"));
  ASSERT_TRUE(t.WaitFor("> "));
  t.Type("/quit\n");
  EXPECT_EQ(t.Wait(), 0);
}

TEST_F(ChatTerminalTest, SeveralLinesAreOneMessage) {
  Terminal t(Args({"--max-tokens", "1"}));
  ASSERT_TRUE(t.WaitFor("> "));
  t.Type("one \\\n");
  ASSERT_TRUE(t.WaitFor("... "));
  t.Type("two\n");
  ASSERT_TRUE(t.WaitFor("\"event\":\"end\""));
  ASSERT_TRUE(t.WaitFor("> "));
  t.Type("\"\"\"\n");
  ASSERT_TRUE(t.WaitFor("... "));
  t.Type("three\n");
  ASSERT_TRUE(t.WaitFor("... "));
  t.Type("\"\"\"\n");
  ASSERT_TRUE(t.WaitFor("\"event\":\"end\""));
  t.Type("/quit\n");
  EXPECT_EQ(t.Wait(), 0);
}

}  // namespace
}  // namespace rill
