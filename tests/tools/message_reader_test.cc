// What a user says, as rill-chat reads it: lines in whatever pieces they come, signals at any
// moment.
#include "samples/tools/message_reader.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "samples/tools/interrupt.h"
#include "tests/support/random.h"

namespace rill {
namespace {

using Clock = std::chrono::steady_clock;
using rill_chat::CatchInterrupts;
using rill_chat::ForgetInterrupt;
using rill_chat::MessageReader;

// Whether `read` holds in a child that has a pipe as stdin and `feed`, on another thread, at the
// pipe's other end. What does not end in 20 seconds does not hold.
bool HoldsOnAPipe(absl::FunctionRef<bool()> read, absl::FunctionRef<void(int)> feed) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    int ends[2];
    if (!CatchInterrupts() || pipe(ends) != 0 || dup2(ends[0], STDIN_FILENO) < 0) _exit(2);
    std::thread feeder([&] { feed(ends[1]); });
    const bool held = read();
    feeder.join();
    _exit(held ? 0 : 1);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<std::string> RandomLines(test::Random& random, size_t n) {
  std::vector<std::string> lines(n);
  for (std::string& line : lines) {
    line.assign(static_cast<size_t>(random.Int(1, 9000)), 'x');
    for (char& c : line) c = static_cast<char>(random.Int('!', '~'));
  }
  return lines;
}

TEST(MessageReaderTest, LinesAreWholeInWhateverPiecesTheyCome) {
  test::Random random;
  const std::vector<std::string> lines = RandomLines(random, 40);
  std::string input;
  for (const std::string& line : lines) input += line + (random.Int(0, 1) == 1 ? "\r\n" : "\n");
  while (input.back() == '\n' || input.back() == '\r') input.pop_back();
  const auto feed = [&](int fd) {
    for (size_t at = 0; at < input.size();) {
      const auto n = std::min(static_cast<size_t>(random.Int(1, 6000)), input.size() - at);
      const ssize_t written = write(fd, input.data() + at, n);
      if (written <= 0) break;
      at += static_cast<size_t>(written);
    }
    close(fd);
  };
  const auto read = [&] {
    MessageReader reader(false);
    for (const std::string& line : lines) {
      if (reader.Next() != line) return false;
    }
    return !reader.Next().has_value();
  };
  EXPECT_TRUE(HoldsOnAPipe(read, feed));
}

void Spin(int64_t nanoseconds) {
  const auto then = Clock::now() + std::chrono::nanoseconds(nanoseconds);
  while (Clock::now() < then) {
  }
}

// The signal comes before, while and after the reader begins to wait, thousands of times, or for
// two seconds on a busy machine. Lost once, it leaves the reader waiting for good.
TEST(MessageReaderTest, ASignalAtAnyMomentEndsTheWait) {
  constexpr int kRounds = 20'000;
  constexpr int64_t kSpread = 10'000;
  test::Random random;
  std::vector<int64_t> delays(kRounds);
  for (int64_t& delay : delays) delay = random.Int(-kSpread, kSpread);
  const auto end = Clock::now() + std::chrono::seconds(2);
  std::atomic<int> ready{0}, heard{0};
  std::atomic<bool> done{false};
  const auto interrupt = [&](int) {
    for (int round = 0; round < kRounds; ++round) {
      while (ready <= round) {
        if (done) return;
        std::this_thread::yield();
      }
      Spin(std::max<int64_t>(-delays[round], 0));
      kill(getpid(), SIGINT);
      while (heard <= round) std::this_thread::yield();
    }
  };
  const auto wait = [&] {
    for (int round = 0; round < kRounds && Clock::now() < end; ++round) {
      ForgetInterrupt();
      MessageReader reader(false);
      ready = round + 1;
      Spin(std::max<int64_t>(delays[round], 0));
      if (reader.Next()) return false;
      heard = round + 1;
    }
    done = true;
    return true;
  };
  EXPECT_TRUE(HoldsOnAPipe(wait, interrupt));
}

TEST(MessageReaderTest, TerminationIsNotForgotten) {
  const auto wait = [&] {
    kill(getpid(), SIGTERM);
    ForgetInterrupt();
    return !MessageReader(false).Next() && rill_chat::Terminated();
  };
  EXPECT_TRUE(HoldsOnAPipe(wait, [](int) {}));
}

}  // namespace
}  // namespace rill
