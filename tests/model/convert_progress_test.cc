#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "model/convert/progress.h"

namespace rill {
namespace {

class FakeClock : public Clock {
 public:
  int64_t NowNanos() override { return now; }
  int64_t now = 1'000'000'000'000;
};

class ProgressTest : public ::testing::Test {
 protected:
  ProgressTest() : file_(std::tmpfile()) {}
  ~ProgressTest() override { std::fclose(file_); }

  std::string Printed() {
    std::string text(4096, '\0');
    std::fflush(file_);
    std::rewind(file_);
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }

  FILE* file_;
  FakeClock clock_;
};

TEST_F(ProgressTest, AFileGetsALinePerTenth) {
  ProgressBar bar(file_, "load", "B", ProgressBar::Style::kAuto, &clock_);
  for (uint64_t done = 0; done <= 1000; ++done) {
    bar.Update(done * 1'000'000, 1'000'000'000);
    clock_.now += 10'000'000;
  }
  bar.Finish();
  const std::string text = Printed();
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 11u) << text;
  EXPECT_EQ(lines.front(), "load   0%  0 B of 1.00 GB");
  EXPECT_EQ(lines[5], "load  50%  500 MB of 1.00 GB  100 MB/s  5s left");
  EXPECT_EQ(lines.back(), "load 100%  1.00 GB of 1.00 GB  100 MB/s");
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST_F(ProgressTest, ABarIsDrawnTenTimesASecondInPlace) {
  {
    ProgressBar bar(file_, "eval", "tokens", ProgressBar::Style::kBar, &clock_);
    for (uint64_t done = 0; done <= 200; ++done) {
      bar.Update(done, 200);
      clock_.now += 5'000'000;  // a second in all
    }
  }  // the destructor ends the line
  const std::string text = Printed();
  const std::vector<std::string> draws = absl::StrSplit(text, '\r', absl::SkipEmpty());
  EXPECT_GE(draws.size(), 10u) << text;
  EXPECT_LE(draws.size(), 12u) << text;
  EXPECT_EQ(draws.front(), "eval   0% [                    ]  0 tokens of 200 tokens");
  EXPECT_EQ(
      draws.back(),
      std::string("eval 100% [====================]  200 tokens of 200 tokens  200 tokens/s") +
          std::string(draws.back().size() - 73, ' ') + "\n");
  EXPECT_NE(text.find("1s left"), std::string::npos) << text;
}

TEST_F(ProgressTest, AShorterLineWipesALongerOne) {
  ProgressBar bar(file_, "x", "B", ProgressBar::Style::kBar, &clock_);
  bar.Update(0, 1000);
  clock_.now += 60'000'000'000;
  bar.Update(1, 1000);
  clock_.now += 1'000'000'000;
  bar.Update(1000, 1000);
  bar.Finish();
  const std::string text = Printed();
  std::vector<std::string> draws =
      absl::StrSplit(text.substr(0, text.size() - 1), '\r', absl::SkipEmpty());
  ASSERT_EQ(draws.size(), 3u) << text;
  EXPECT_GT(draws[1].size(), draws[0].size());
  EXPECT_EQ(draws[2].size(), draws[1].size());
}

TEST_F(ProgressTest, OddTotals) {
  ProgressBar lines(file_, "x", "B", ProgressBar::Style::kLines, &clock_);
  lines.Update(0, 0);
  lines.Finish();
  lines.Finish();
  lines.Update(7, 5);  // more than promised
  EXPECT_EQ(Printed(), "x 100%  0 B of 0 B\nx 100%  7 B of 5 B\n");
}

TEST_F(ProgressTest, NothingBeforeTheFirstUpdate) {
  { ProgressBar bar(file_, "x", "B", ProgressBar::Style::kBar, &clock_); }
  EXPECT_EQ(Printed(), "");
}

TEST(FormatTest, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.00 kB");
  EXPECT_EQ(FormatBytes(9'994), "9.99 kB");
  EXPECT_EQ(FormatBytes(9'996), "10.0 kB");
  EXPECT_EQ(FormatBytes(99'960), "100 kB");
  EXPECT_EQ(FormatBytes(999'400), "999 kB");
  EXPECT_EQ(FormatBytes(999'600), "1.00 MB");
  EXPECT_EQ(FormatBytes(98.2e9), "98.2 GB");
  EXPECT_EQ(FormatBytes(5e15), "5000 TB");
}

TEST(FormatTest, Seconds) {
  EXPECT_EQ(FormatSeconds(0), "0s");
  EXPECT_EQ(FormatSeconds(59.4), "59s");
  EXPECT_EQ(FormatSeconds(59.6), "1m00s");
  EXPECT_EQ(FormatSeconds(3599.4), "59m59s");
  EXPECT_EQ(FormatSeconds(7500), "2h05m");
}

}  // namespace
}  // namespace rill
