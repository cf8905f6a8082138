// The rill-chat program on a terminal: prompts, commands, Ctrl-C.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "absl/functional/function_ref.h"
#include "tests/tools/tool_case.h"

namespace rill {
namespace {

using Clock = std::chrono::steady_clock;

// Every wait ends by then, however busy the machine is. A program that is not done has failed.
constexpr std::chrono::seconds kPatience{30};

int MillisecondsTo(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

// A program whose stdin, stdout and stderr are one terminal, unless `prepare` changes that: it is
// called in the child before the program begins.
class Terminal {
 public:
  explicit Terminal(
      const std::vector<std::string>& argv, absl::FunctionRef<void()> prepare = [] {}) {
    child_ = forkpty(&master_, nullptr, nullptr, nullptr);
    if (child_ != 0) return;
    prepare();
    std::vector<char*> args;
    for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    execv(args[0], args.data());
    _exit(127);
  }
  ~Terminal() {
    if (child_ > 0) End();
    close(master_);
  }

  void Type(const std::string& keys) {
    EXPECT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // Reads until `text` is shown. False at the deadline and the program's end.
  bool Shows(const std::string& text) {
    const auto deadline = Clock::now() + kPatience;
    while (shown_.find(text) == std::string::npos) {
      if (!ReadSome(deadline)) return false;
    }
    return true;
  }

  // It has to be shown; what came before it is forgotten.
  bool WaitFor(const std::string& text) {
    if (!Shows(text)) {
      ADD_FAILURE() << "no \"" << text << "\" in \"" << shown_ << "\"";
      return false;
    }
    shown_.erase(0, shown_.find(text) + text.size());
    return true;
  }

  // The exit code, -1 when a signal ended it. A program that does not end by the deadline is ended,
  // and the test has failed.
  int Wait() {
    const auto deadline = Clock::now() + kPatience;
    while (ReadSome(deadline)) {
    }
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) == 0) {
      if (MillisecondsTo(deadline) == 0) {
        ADD_FAILURE() << "the program did not end; last shown: \"" << shown_ << "\"";
        status = End();
        break;
      }
      usleep(1000);
    }
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool ReadSome(Clock::time_point deadline) {
    pollfd ready{master_, POLLIN, 0};
    if (poll(&ready, 1, MillisecondsTo(deadline)) <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(master_, buffer, sizeof buffer);
    if (n > 0) shown_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int End() {
    int status = 0;
    kill(child_, SIGKILL);
    waitpid(child_, &status, 0);
    child_ = -1;
    return status;
  }

  int master_ = -1;
  pid_t child_ = -1;
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

// Stops an answer as soon as it has begun. False where it had ended by itself before the key came:
// then that was a Ctrl-C at the prompt, and the program has left.
bool StopsAnAnswer(Terminal& t) {
  if (!t.WaitFor("> ")) return false;
  t.Type("hello\n");
  if (!t.WaitFor("\"event\":\"")) return false;
  t.Type(kCtrlC);
  return t.Shows("\"finish\":\"interrupted\"");
}

// At this temperature one token in a hundred is a stop token.
TEST_F(ChatTerminalTest, CtrlCStopsTheAnswerAndKeepsTheConversation) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    Terminal t(Args({"--context", "1000000", "--temperature", "50"}));
    if (!StopsAnAnswer(t)) continue;
    ASSERT_TRUE(t.WaitFor("> "));
    t.Type("/stats\n");
    ASSERT_TRUE(t.WaitFor("of 1000000 tokens"));
    t.Type("/quit\n");
    EXPECT_EQ(t.Wait(), 0);
    return;
  }
  ADD_FAILURE() << "no answer was stopped";
}

TEST_F(ChatTerminalTest, CtrlCAndCtrlDAtThePromptLeave) {
  for (const char* key : {kCtrlC, kCtrlD}) {
    Terminal t(Args({}));
    ASSERT_TRUE(t.WaitFor("> "));
    t.Type(key);
    EXPECT_EQ(t.Wait(), 0);
  }
}

// Makes stderr a pipe that sends its writer `signal` for what is written: it is there when the
// first write returns.
void WireStderr(const int (&ends)[2], int signal) {
  fcntl(ends[0], F_SETOWN, getpid());
  fcntl(ends[0], F_SETSIG, signal);
  fcntl(ends[0], F_SETFL, O_ASYNC);
  dup2(ends[1], STDERR_FILENO);
}

// The prompt goes to stderr, so the signal comes after the prompt was shown and before anything is
// read. A program that sleeps in a read then has not heard of it.
TEST_F(ChatTerminalTest, ASignalBetweenThePromptAndTheReadIsNotLost) {
  for (const int signal : {SIGINT, SIGTERM}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    Terminal t(Args({}), [&] { WireStderr(ends, signal); });
    EXPECT_EQ(t.Wait(), 0) << "signal " << signal;
    for (const int end : ends) close(end);
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
