#include "sdk/stop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "model/tokenizer/utf8.h"
#include "tests/support/random.h"

namespace rill {
namespace {

using Strings = std::vector<std::string>;

struct Outcome {
  std::string text;
  int32_t matched;
  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << '"' << outcome.text << "\" and stop string " << outcome.matched;
}

// The rule on the whole text: earliest start, then listed order.
Outcome Expected(const Strings& stops, const std::string& text) {
  size_t best = std::string::npos;
  int32_t matched = -1;
  for (size_t i = 0; i < stops.size(); ++i) {
    const size_t at = text.find(stops[i]);
    if (at < best) best = at, matched = static_cast<int32_t>(i);
  }
  return {text.substr(0, best), matched};
}

StopFilter Make(const Strings& stops) {
  auto filter = StopFilter::Create(stops);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return *std::move(filter);
}

Outcome Stream(StopFilter filter, const Strings& chunks) {
  std::string shown;
  for (const std::string& chunk : chunks) filter.Push(chunk, &shown);
  filter.Finish(&shown);
  return {shown, filter.matched()};
}

TEST(StopTest, FindsStopsAcrossChunks) {
  EXPECT_EQ(Stream(Make({"END"}), {"some E", "N", "D more"}), (Outcome{"some ", 0}));
  EXPECT_EQ(Stream(Make({"END"}), {"some E", "N", "E", "ND"}), (Outcome{"some EN", 0}));
  EXPECT_EQ(Stream(Make({"END"}), {"some EN"}), (Outcome{"some EN", -1}));
  EXPECT_EQ(Stream(Make({"aab"}), {"a", "a", "a", "b"}), (Outcome{"a", 0}));
  EXPECT_EQ(Stream(Make({}), {"any", "thing"}), (Outcome{"anything", -1}));
  EXPECT_EQ(Stream(Make({"é"}), {"caf", "è", "é!"}), (Outcome{"cafè", 0}));
}

TEST(StopTest, TheEarliestStartWinsThenTheListedOrder) {
  EXPECT_EQ(Stream(Make({"abcd", "bc"}), {"abc", "d"}), (Outcome{"", 0}));
  EXPECT_EQ(Stream(Make({"abcd", "bc"}), {"abc", "x"}), (Outcome{"a", 1}));
  EXPECT_EQ(Stream(Make({"abcd", "bc"}), {"abc"}), (Outcome{"a", 1}));
  EXPECT_EQ(Stream(Make({"ab", "abc"}), {"abc"}), (Outcome{"", 0}));
  EXPECT_EQ(Stream(Make({"abc", "ab"}), {"ab", "c"}), (Outcome{"", 0}));
  EXPECT_EQ(Stream(Make({"abc", "ab"}), {"ab", "x"}), (Outcome{"", 1}));
}

TEST(StopTest, ShowsTextAsSoonAsItIsSafe) {
  StopFilter filter = Make({"\n\nUser:", "###"});
  std::string shown;
  EXPECT_FALSE(filter.Push("Hello\n", &shown));
  EXPECT_EQ(shown, "Hello");
  EXPECT_EQ(filter.pending(), "\n");
  EXPECT_FALSE(filter.Push("world #", &shown));
  EXPECT_EQ(shown, "Hello\nworld ");
  EXPECT_FALSE(filter.Push("#", &shown));
  EXPECT_EQ(filter.pending(), "##");
  EXPECT_TRUE(filter.Push("# more", &shown));
  EXPECT_EQ(shown, "Hello\nworld ");
  EXPECT_EQ(filter.matched(), 1);
  EXPECT_TRUE(filter.Push("dropped", &shown));
  EXPECT_TRUE(filter.Finish(&shown));
  EXPECT_EQ(shown, "Hello\nworld ");
  EXPECT_EQ(filter.pending(), "");
}

// The text pushed so far, less what any continuation could still turn into a match.
std::string SafePrefix(const Strings& stops, const std::string& text) {
  for (size_t at = 0; at < text.size(); ++at) {
    for (const std::string& stop : stops) {
      const std::string rest = text.substr(at, stop.size());
      if (stop.compare(0, rest.size(), rest) == 0) return text.substr(0, at);
    }
  }
  return text;
}

TEST(StopTest, EqualsTheRuleForRandomStopsTextsAndChunks) {
  std::mt19937_64 random(test::Seed());
  const auto word = [&](size_t longest) {
    std::string text(1 + random() % longest, ' ');
    for (char& c : text) c = "ab\n"[random() % 3];
    return text;
  };
  for (int trial = 0; trial < 20'000; ++trial) {
    Strings stops(random() % 4);
    for (std::string& stop : stops) stop = word(5);
    StopFilter filter = Make(stops);
    std::string text, shown;
    for (int chunk = 0; chunk < 8 && filter.matched() < 0; ++chunk) {
      const std::string next = word(4);
      text += next;
      filter.Push(next, &shown);
      if (filter.matched() < 0) {
        ASSERT_EQ(shown, SafePrefix(stops, text));
        ASSERT_EQ(shown + std::string(filter.pending()), text);
      }
      if (random() % 3 == 0) {  // saved and resumed
        auto resumed = StopFilter::Resume(stops, filter.state());
        ASSERT_TRUE(resumed.ok()) << resumed.status();
        filter = *std::move(resumed);
      }
    }
    filter.Finish(&shown);
    ASSERT_EQ((Outcome{shown, filter.matched()}), Expected(stops, text));
  }
}

TEST(StopTest, GivesWholeCharacters) {
  StopFilter filter = Make({"日本語", "😀!"});
  std::string shown;
  for (const char* c : {"日", "本", "人", "😀", "😀", "?"}) {
    filter.Push(c, &shown);
    EXPECT_EQ(ValidUtf8Bytes(shown), shown.size());
  }
  EXPECT_EQ(shown, "日本人😀😀?");
}

TEST(StopTest, HoldsBackLessThanTheLongestStop) {
  StopFilter filter = Make({std::string(kMaxStopBytes, 'a'), "aab"});
  std::string shown;
  for (int i = 0; i < 3000 && !filter.Push(i % 1500 == 1499 ? "c" : "a", &shown); ++i) {
    EXPECT_LT(filter.pending().size(), kMaxStopBytes);
  }
  EXPECT_EQ(filter.matched(), 0);
}

TEST(StopTest, RefusesBadStopsAndForeignStates) {
  const auto code = [](const auto& result) { return result.status().code(); };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(StopFilter::Create({"a", ""})), kInvalid);
  EXPECT_EQ(code(StopFilter::Create({"a\xFF"})), kInvalid);
  EXPECT_EQ(code(StopFilter::Create({"\xE4\xB8"})), kInvalid);
  EXPECT_EQ(code(StopFilter::Create({std::string(kMaxStopBytes + 1, 'a')})), kInvalid);
  EXPECT_EQ(code(StopFilter::Create(Strings(kMaxStopStrings + 1, "a"))), kInvalid);
  EXPECT_TRUE(StopFilter::Create(Strings(kMaxStopStrings, "a")).ok());
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"x", -1})), kInvalid);
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"xab", -1})), kInvalid);
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"abc", -1})), kInvalid);
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"", 1})), kInvalid);
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"", -2})), kInvalid);
  EXPECT_EQ(code(StopFilter::Resume({"abc"}, {"ab", 0})), kInvalid);
  EXPECT_TRUE(StopFilter::Resume({"abc"}, {"ab", -1}).ok());
  EXPECT_TRUE(StopFilter::Resume({"abc"}, {"", 0}).ok());
}

}  // namespace
}  // namespace rill
