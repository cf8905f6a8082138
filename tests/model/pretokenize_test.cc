#include "model/tokenizer/pretokenize.h"

#include <gtest/gtest.h>

#include "model/tokenizer/text_blocks.h"
#include "model/tokenizer/utf8.h"
#include "tests/model/test_vocabulary.h"
#include "tests/support/random.h"

namespace rill {
namespace {

using Pieces = std::vector<std::string>;

Pieces Split(const Pretokenizer& pretokenizer, std::string_view text) {
  Pieces pieces;
  const auto status =
      pretokenizer.Split(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  EXPECT_TRUE(status.ok()) << status;
  return pieces;
}

class PretokenizeTest : public ::testing::TestWithParam<Pretokenizer::Engine> {
 protected:
  PretokenizeTest() : pretokenizer_(*Pretokenizer::Create(GetParam())) {}
  const Pretokenizer pretokenizer_;
};

INSTANTIATE_TEST_SUITE_P(Engines, PretokenizeTest,
                         ::testing::Values(Pretokenizer::Engine::kJitIfAvailable,
                                           Pretokenizer::Engine::kInterpreter));

TEST_P(PretokenizeTest, GivesThePublishedSplits) {
  const std::pair<const char*, Pieces> published[] = {
      {"helloWorld fooBAR XMLHttp ChatGPT iPhone",
       {"hello", "World", " foo", "BAR", " XMLHttp", " Chat", "GPT", " i", "Phone"}},
      {"I'm CAN'T wait", {"I'm", " CAN'T", " wait"}},
      {"世界hello世世——“你好”", {"世界", "hello", "世世", "——“", "你好", "”"}},
      {"a  b   c\n\n  d", {"a", " ", " b", "  ", " c", "\n\n", " ", " d"}},
      {"नमस्ते दुनिया", {"नमस्ते", " दुनिया"}},
      {"カタカナabc", {"カタカナabc"}},
      {" 々", {" ", "々"}},
      {"ABC ABc ABcD", {"ABC", " ABc", " ABc", "D"}},
  };
  for (const auto& [text, pieces] : published) EXPECT_EQ(Split(pretokenizer_, text), pieces);
}

TEST_P(PretokenizeTest, AgreesWithPythonsRegex) {
  const auto vectors = ReadVectors("split_vectors.json");
  ASSERT_GT(vectors.size(), 400u);
  for (const auto& row : vectors) {
    EXPECT_EQ(Split(pretokenizer_, row["text"].get<std::string>()), row["pieces"].get<Pieces>())
        << row["text"];
  }
}

TEST_P(PretokenizeTest, PiecesTileAnyText) {
  std::mt19937_64 random(test::Seed());
  for (int i = 0; i < 200; ++i) {
    const std::string text = RandomText(random, random() % 300);
    std::string joined;
    for (const std::string& piece : Split(pretokenizer_, text)) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
    }
    ASSERT_EQ(joined, text);
  }
}

// Runs as long as TextBlocks lets through must stay within the matcher's stack and limits.
TEST_P(PretokenizeTest, TakesTheLongestRunsWhole) {
  for (const char* unit : {"a", "A", "世", "\u0301", "\u0930", "!", "😀", "\n"}) {
    std::string text;
    for (int64_t i = 0; i < kMaxRunChars; ++i) text += unit;
    EXPECT_EQ(Split(pretokenizer_, text), Pieces{text}) << unit;
  }
  const std::string spaces(kMaxRunChars, ' ');
  EXPECT_EQ(Split(pretokenizer_, spaces + "世"), (Pieces{spaces.substr(1), " ", "世"}));
}

TEST(TextBlocksTest, SpacesAreThoseOfPython) {
  // [c for c in range(0x110000) if chr(c).isspace()] of Python 3.11
  const std::set<char32_t> spaces = {0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x1C,   0x1D,   0x1E,
                                     0x1F,   0x20,   0x85,   0xA0,   0x1680, 0x2000, 0x2001, 0x2002,
                                     0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A,
                                     0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
  for (char32_t c = 0; c < 0x110000; ++c) {
    ASSERT_EQ(IsPythonSpace(c), spaces.count(c) == 1) << static_cast<uint32_t>(c);
  }
}

// A direct transcription of the original's rule, on code points.
std::vector<std::string> CutSlowly(const std::vector<std::string>& chars) {
  std::vector<std::string> parts;
  for (size_t block = 0; block < chars.size(); block += kMaxBlockChars) {
    const size_t end = std::min(chars.size(), block + kMaxBlockChars);
    size_t run_begin = block;
    parts.emplace_back();
    for (size_t i = block; i < end; ++i) {
      const bool same = i > run_begin && IsPythonSpace(FirstCodePoint(chars[i])) ==
                                             IsPythonSpace(FirstCodePoint(chars[i - 1]));
      if (!same) run_begin = i;
      if (same && i - run_begin == static_cast<size_t>(kMaxRunChars)) {
        parts.emplace_back();
        run_begin = i;
      }
      parts.back() += chars[i];
    }
  }
  return parts;
}

TEST(TextBlocksTest, CutsWhereTheOriginalCuts) {
  std::mt19937_64 random(test::Seed());
  const char* kinds[] = {"a", " ", "é", "\u3000", "\u001c", "😀", "\u200b"};
  for (int trial = 0; trial < 6; ++trial) {
    std::vector<std::string> chars;
    while (chars.size() < 900'000) {
      static constexpr size_t kRuns[] = {1, 3, 12'000, 24'999, 25'000, 25'001, 50'001};
      chars.insert(chars.end(), kRuns[random() % 7], kinds[random() % 7]);
    }
    std::string text;
    for (const std::string& c : chars) text += c;
    std::vector<std::string> parts;
    TextBlocks blocks(text);
    for (std::string_view part; blocks.Next(&part);) parts.emplace_back(part);
    ASSERT_EQ(parts, CutSlowly(chars));
  }
}

TEST(TextBlocksTest, CutsBeforeTheCharacterThatIsTooMany) {
  const auto sizes = [](const std::string& text) {
    std::vector<size_t> result;
    TextBlocks blocks(text);
    for (std::string_view part; blocks.Next(&part);) result.push_back(part.size());
    return result;
  };
  using Sizes = std::vector<size_t>;
  EXPECT_EQ(sizes(""), Sizes{});
  EXPECT_EQ(sizes(std::string(25'000, 'a')), Sizes{25'000});
  EXPECT_EQ(sizes(std::string(25'001, 'a')), (Sizes{25'000, 1}));
  EXPECT_EQ(sizes(std::string(20'000, 'a') + " " + std::string(25'001, 'a')), (Sizes{45'001, 1}));
  std::string words;
  while (words.size() < 400'002) words += "ab ";
  EXPECT_EQ(sizes(words), (Sizes{400'000, words.size() - 400'000}));
}

}  // namespace
}  // namespace rill
