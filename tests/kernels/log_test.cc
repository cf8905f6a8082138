#include "kernels/base/log.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/clock.h"

namespace rill::test {
namespace {

struct Heard {
  std::vector<std::string> lines;
};

void Keep(void* user, LogLevel level, std::string_view component, std::string_view message) {
  static_cast<Heard*>(user)->lines.push_back(std::to_string(static_cast<int>(level)) + " " +
                                             std::string(component) + " " + std::string(message));
}

TEST(Log, GoesToTheSinkFromItsLevelOn) {
  Heard heard;
  Log(LogLevel::kError, "test", "nobody listens yet");
  SetLogSink(Keep, &heard, LogLevel::kWarning);
  Log(LogLevel::kInfo, "test", "too quiet");
  Log(LogLevel::kWarning, "disk", "slow");
  Log(LogLevel::kError, "disk", "gone");
  SetLogSink(nullptr, nullptr, LogLevel::kDebug);
  Log(LogLevel::kError, "disk", "after the end");
  EXPECT_EQ(heard.lines, (std::vector<std::string>{"2 disk slow", "3 disk gone"}));
}

TEST(Log, ManyThreadsMayTalkWhileSinksChange) {
  static std::atomic<int> calls{0};
  const LogSink count = [](void*, LogLevel, std::string_view, std::string_view) { ++calls; };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int j = 0; j < 1000; ++j) Log(LogLevel::kInfo, "thread", "line");
    });
  }
  for (int i = 0; i < 100; ++i) SetLogSink(i % 2 == 0 ? count : nullptr, nullptr, LogLevel::kInfo);
  SetLogSink(count, nullptr, LogLevel::kInfo);
  for (std::thread& thread : threads) thread.join();
  const int before = calls;
  Log(LogLevel::kInfo, "thread", "line");
  EXPECT_EQ(calls, before + 1);
  SetLogSink(nullptr, nullptr, LogLevel::kInfo);
}

TEST(SteadyClock, NeverRunsBackwards) {
  Clock* clock = Clock::Steady();
  EXPECT_EQ(clock, Clock::Steady());
  int64_t before = clock->NowNanos();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = clock->NowNanos();
    EXPECT_GE(now, before);
    before = now;
  }
}

}  // namespace
}  // namespace rill::test
