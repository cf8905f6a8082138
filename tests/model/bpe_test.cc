#include "model/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/model/test_vocabulary.h"
#include "tests/support/random.h"

namespace rill {
namespace {

Vocabulary Parse(const std::vector<std::string>& tokens) {
  auto vocabulary = Vocabulary::Parse(TiktokenFile(tokens));
  EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
  return *std::move(vocabulary);
}

std::vector<int32_t> Encode(const Vocabulary& vocabulary, std::string_view piece) {
  std::vector<int32_t> ids;
  Bpe(vocabulary).Encode(piece, &ids);
  return ids;
}

// The definition: look at all neighbours, join the best, start again.
std::vector<int32_t> EncodeSlowly(const Vocabulary& vocabulary, const std::string& piece) {
  if (const auto id = vocabulary.Find(piece)) return {*id};
  std::vector<std::string> parts;
  for (char c : piece) parts.emplace_back(1, c);
  while (true) {
    int32_t best_rank = vocabulary.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const int32_t rank = vocabulary.Find(parts[i] + parts[i + 1]).value_or(vocabulary.size());
      if (rank < best_rank) best_rank = rank, best = i;
    }
    if (best_rank == vocabulary.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + best + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& part : parts) ids.push_back(*vocabulary.Find(part));
  return ids;
}

TEST(BpeTest, EqualsTheDefinitionOnRandomVocabularies) {
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 60; ++trial) {
    const Vocabulary vocabulary = Parse(RandomMerges(random, {"a", "b", "c"}, 1 + random() % 120));
    Bpe bpe(vocabulary);  // one for all, so that scratch of an earlier piece could show
    for (int i = 0; i < 60; ++i) {
      std::string piece(1 + random() % 90, 'a');
      for (char& c : piece) c = "abcd"[random() % (i % 4 + 1)];
      std::vector<int32_t> ids;
      bpe.Encode(piece, &ids);
      ASSERT_EQ(ids, EncodeSlowly(vocabulary, piece)) << piece;
    }
  }
}

TEST(BpeTest, EqualsTheDefinitionOnTokensThatNoMergeReaches) {
  std::mt19937_64 random(test::Seed());
  std::vector<std::string> tokens = {"abcabc", "cab", "bca", "ab", "cc", "abc", "aaaa", "aa"};
  for (int trial = 0; trial < 300; ++trial) {
    std::shuffle(tokens.begin(), tokens.end(), random);
    const Vocabulary vocabulary = Parse(tokens);
    std::string piece(1 + random() % 40, 'a');
    for (char& c : piece) c = "abc"[random() % 3];
    ASSERT_EQ(Encode(vocabulary, piece), EncodeSlowly(vocabulary, piece)) << piece;
  }
}

TEST(BpeTest, JoinsTheLeftmostOfEqualPairs) {
  const Vocabulary vocabulary = Parse({"aa"});
  EXPECT_EQ(Encode(vocabulary, "aaa"), (std::vector<int32_t>{256, 'a'}));
  EXPECT_EQ(Encode(vocabulary, "aaaaa"), (std::vector<int32_t>{256, 256, 'a'}));
}

TEST(BpeTest, TakesAPieceThatIsATokenWholeThoughMergesMissIt) {
  const Vocabulary vocabulary = Parse({"xyz"});
  EXPECT_EQ(Encode(vocabulary, "xyz"), std::vector<int32_t>{256});
  EXPECT_EQ(Encode(vocabulary, "xyzx"), (std::vector<int32_t>{'x', 'y', 'z', 'x'}));
  EXPECT_EQ(Encode(vocabulary, ""), std::vector<int32_t>{});
}

struct BadFile {
  const char* name;
  std::string file;
  const char* message;
};

TEST(VocabularyTest, RefusesWhatIsNoVocabularyAndNamesTheLine) {
  const std::string good = TiktokenFile({"ab", "cd"});
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string file = good;
    const size_t at = file.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return file.replace(at, from.size(), to);
  };
  const BadFile cases[] = {
      {"empty file", "", "single byte 0"},
      {"no rank", changed("YWI= 256", "YWI="), "line 257: no space"},
      {"bad base64", changed("YWI=", "YW!="), "line 257: the token is not canonical base64"},
      {"no padding", changed("YWI=", "YWI"), "line 257: the token is not canonical base64"},
      {"stray bits", changed("YWI=", "YWJ="), "line 257: the token is not canonical base64"},
      {"space in base64", changed("YWI= 256", "YW I= 256"), "line 257"},
      {"two spaces", changed("YWI= 256", "YWI=  256"), "line 257: rank"},
      {"empty token", changed("YWI= 256", " 256"), "line 257: the token is empty"},
      {"empty line", changed("YWI= 256\n", "\nYWI= 256\n"), "line 257: no space"},
      {"gap", changed("YWI= 256", "YWI= 258"), "line 257: rank \"258\" where 256 follows"},
      {"repeated rank", changed("Y2Q= 257", "Y2Q= 256"), "line 258: rank \"256\""},
      {"leading zero", changed("YWI= 256", "YWI= 0256"), "line 257: rank"},
      {"negative", changed("YWI= 256", "YWI= -256"), "line 257: rank"},
      {"carriage return", changed("YWI= 256", "YWI= 256\r"), "line 257: rank \"256\\r\""},
      {"repeated token", changed("Y2Q= 257", "YWI= 257"), "line 258: the token of rank 256 again"},
      {"byte missing", changed("QQ== 65", "QUE= 65"), "no token for the single byte 65"},
      {"cut in a rank", good.substr(0, good.size() - 2), "line 258: rank \"25\""},
  };
  for (const auto& [name, file, message] : cases) {
    const auto status = Vocabulary::Parse(file).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_NE(std::string(status.message()).find(message), std::string::npos)
        << name << ": " << status.message();
  }
}

TEST(VocabularyTest, KeepsItsBytesWhenMovedAndReadsALastLineWithoutLineFeed) {
  const std::string file = TiktokenFile({"ab", "cd"});
  auto parsed = Vocabulary::Parse(std::string_view(file).substr(0, file.size() - 1));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Vocabulary vocabulary = *std::move(parsed);
  EXPECT_EQ(vocabulary.size(), 258);
  EXPECT_EQ(vocabulary.bytes(257), "cd");
  EXPECT_EQ(vocabulary.Find("ab"), 256);
  EXPECT_EQ(vocabulary.Find("abc"), std::nullopt);
}

}  // namespace
}  // namespace rill
