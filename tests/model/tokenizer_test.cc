#include "model/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>

#include "tests/model/test_vocabulary.h"
#include "tests/support/random.h"

namespace rill {
namespace {

using Ids = std::vector<int32_t>;

constexpr auto kContent = EncodeMode::kContent;
constexpr auto kAllowSpecial = EncodeMode::kAllowSpecial;

#if defined(__has_feature)
#define RILL_TEST_CLANG_SANITIZER \
  (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define RILL_TEST_CLANG_SANITIZER 0
#endif
#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    RILL_TEST_CLANG_SANITIZER
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

// Units of every kind the tests repeat, and merges over them.
std::vector<std::string> Tokens() {
  std::mt19937_64 random(test::Seed());
  std::vector<std::string> units;
  for (char c = 'a'; c <= 'z'; ++c) units.emplace_back(1, c);
  for (const char* unit : {" ", "\n", "\xE4", "\xB8", "\x96", "\xCC", "\x81", "\xF0", "\x9F",
                           "\x98", "\x80", "\xC3", "\xA9", "|", "<", ">", "_"}) {
    units.emplace_back(unit);
  }
  std::vector<std::string> tokens;
  for (const char* unit : {"a", " ", "\n", "世", "\u0301", "😀"}) {  // what a corpus makes of runs
    std::string run = unit;
    for (size_t i = 1; i < run.size(); ++i) tokens.push_back(run.substr(0, i + 1));
    for (int doubling = 0; doubling < 5; ++doubling) tokens.push_back(run += run);
  }
  const std::set<std::string> known(tokens.begin(), tokens.end());
  for (const std::string& merge : RandomMerges(random, units, 5000)) {
    if (known.count(merge) == 0) tokens.push_back(merge);
  }
  return tokens;
}

std::unique_ptr<const Tokenizer> MakeTokenizer(const std::string& config = "") {
  const std::string file = TiktokenFile(Tokens());
  const auto n_tokens = std::count(file.begin(), file.end(), '\n');
  auto tokenizer = Tokenizer::Create(file, config, n_tokens + 256);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, EncodeMode mode = kContent) {
  const auto ids = tokenizer.Encode(text, mode);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *ids;
}

bool AnySpecial(const Tokenizer& tokenizer, const Ids& ids) {
  return std::any_of(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.IsSpecial(id); });
}

TEST(TokenizerTest, DecodesWhatItEncoded) {
  const auto tokenizer = MakeTokenizer();
  std::mt19937_64 random(test::Seed());
  for (int i = 0; i < 300; ++i) {
    const std::string text = RandomText(random, random() % 400);
    const auto decoded = tokenizer->Decode(Encode(*tokenizer, text));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, text);
  }
}

TEST(TokenizerTest, TokenBytesOfAnEncodingJoinToTheText) {
  const auto tokenizer = MakeTokenizer();
  const std::string text = "the 世界 hello  world\n\n 😀é";
  std::string joined;
  for (int32_t id : Encode(*tokenizer, text)) joined += *tokenizer->TokenBytes(id);
  EXPECT_EQ(joined, text);
}

TEST(TokenizerTest, ContentNeverBecomesControl) {
  const auto tokenizer = MakeTokenizer();
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 200; ++trial) {
    std::string text;
    Ids expected_specials;
    for (int i = 0; i < 8; ++i) {
      const auto id = static_cast<int32_t>(tokenizer->base_size() + random() % kMinSpecialTokens);
      expected_specials.push_back(id);
      absl::StrAppend(&text, RandomText(random, random() % 3),
                      std::string(*tokenizer->TokenBytes(id)));
    }
    const Ids content = Encode(*tokenizer, text);
    ASSERT_FALSE(AnySpecial(*tokenizer, content));
    ASSERT_EQ(*tokenizer->Decode(content), text);

    Ids specials;
    const Ids allowed = Encode(*tokenizer, text, kAllowSpecial);
    std::copy_if(allowed.begin(), allowed.end(), std::back_inserter(specials),
                 [&](int32_t id) { return tokenizer->IsSpecial(id); });
    ASSERT_EQ(specials, expected_specials);
    ASSERT_EQ(*tokenizer->Decode(allowed, SpecialText::kShow), text);
  }
}

TEST(TokenizerTest, AllowedSpecialsSplitTheTextAroundThem) {
  const auto tokenizer = MakeTokenizer();
  const int32_t base = tokenizer->base_size();
  EXPECT_EQ(Encode(*tokenizer, "<|im_user|><|im_end|>", kAllowSpecial), (Ids{base + 3, base + 2}));
  const std::string reserved = absl::StrCat("<|reserved_token_", base + 5, "|>");
  EXPECT_EQ(Encode(*tokenizer, reserved, kAllowSpecial), Ids{base + 5});
  const std::string outside = absl::StrCat("<|reserved_token_", base + 256, "|>");
  EXPECT_FALSE(AnySpecial(*tokenizer, Encode(*tokenizer, outside, kAllowSpecial)));
  Ids expected = Encode(*tokenizer, "a ");
  expected.push_back(base);
  for (int32_t id : Encode(*tokenizer, " <b")) expected.push_back(id);
  EXPECT_EQ(Encode(*tokenizer, "a [BOS] <b", kAllowSpecial), expected);
}

TEST(TokenizerTest, ControlIdsFollowTheBaseVocabulary) {
  const auto tokenizer = MakeTokenizer();
  const int32_t base = tokenizer->base_size();
  EXPECT_EQ(tokenizer->id(Control::kImEnd), base + 2);
  EXPECT_EQ(tokenizer->id(Control::kImMiddle), base + 17);
  EXPECT_EQ(tokenizer->DefaultStopIds(), (Ids{base + 2, base + 1, base + 9}));
  EXPECT_EQ(*tokenizer->TokenBytes(base + 255), "[PAD]");
  EXPECT_EQ(*tokenizer->TokenBytes(base + 5), absl::StrCat("<|reserved_token_", base + 5, "|>"));
  EXPECT_FALSE(tokenizer->IsSpecial(base - 1));
  EXPECT_TRUE(tokenizer->IsSpecial(base));
  EXPECT_FALSE(tokenizer->IsSpecial(base + 256));
}

TEST(TokenizerTest, RefusesIdsOutsideTheVocabulary) {
  const auto tokenizer = MakeTokenizer();
  const auto vocab_size = static_cast<int32_t>(tokenizer->vocab_size());
  for (int32_t id : {-1, vocab_size, vocab_size + 1, std::numeric_limits<int32_t>::max(),
                     std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(tokenizer->TokenBytes(id).status().code(), absl::StatusCode::kInvalidArgument) << id;
    const auto decoded = tokenizer->Decode({id});
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kInvalidArgument) << id;
    EXPECT_NE(std::string(decoded.status().message()).find(absl::StrCat(id)), std::string::npos);
  }
}

TEST(TokenizerTest, NamesTheByteThatIsNoUtf8) {
  const auto tokenizer = MakeTokenizer();
  const std::pair<std::string, int> cases[] = {
      {"abc\xFF", 3}, {"\x80", 0}, {"é\xED\xA0\x80", 2}, {"cut \xF0\x9F\x98", 4}, {"\xC0\xAF", 0}};
  for (const auto& [text, offset] : cases) {
    const auto status = tokenizer->Encode(text, kContent).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(status.message()).find(absl::StrCat("at byte ", offset)),
              std::string::npos)
        << status;
  }
}

TEST(TokenizerTest, DecodeReplacesBrokenCharactersAndSkipsSpecials) {
  const auto tokenizer = MakeTokenizer();
  const int32_t base = tokenizer->base_size();
  EXPECT_EQ(*tokenizer->Decode({'a', 0xE4, 'b', 0xF0, 0x9F}), "a\uFFFDb\uFFFD");
  EXPECT_EQ(*tokenizer->Decode({base, 'a', base + 2}), "a");
  EXPECT_EQ(*tokenizer->Decode({base, 'a', base + 2}, SpecialText::kShow), "[BOS]a<|im_end|>");
}

TEST(TokenizerTest, LongRunsAreCutAsTheOriginalCutsThem) {
  const auto tokenizer = MakeTokenizer();
  const Ids whole = Encode(*tokenizer, std::string(25'000, 'a'));
  Ids expected = whole;
  expected.insert(expected.end(), whole.begin(), whole.end());
  for (int32_t id : Encode(*tokenizer, "a")) expected.push_back(id);
  EXPECT_EQ(Encode(*tokenizer, std::string(50'001, 'a')), expected);
}

TEST(TokenizerTest, ManyThreadsShareOne) {
  const auto tokenizer = MakeTokenizer();
  std::mt19937_64 random(test::Seed());
  const std::string text = RandomText(random, 20'000);
  const Ids expected = Encode(*tokenizer, text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(Encode(*tokenizer, text), expected); });
  }
  for (std::thread& thread : threads) thread.join();
}

// A megabyte of the most awkward texts; less of them where instrumented code is some thirty times
// slower. Processor time, since the machine may be shared.
TEST(TokenizerTest, EncodesAMegabyteOfAnythingInTwoSeconds) {
  constexpr size_t kBytes = kInstrumented ? 1 << 16 : 1 << 20;
  constexpr double kLimitSeconds = 2;
  const auto tokenizer = MakeTokenizer();
  std::mt19937_64 random(test::Seed());
  std::vector<std::pair<std::string, std::string>> texts = {
      {"random characters", RandomText(random, kBytes / 2)}};
  for (const char* unit :
       {"a", "A",      "aA",      " ",    "\n",  " \n", " a",         "世",
        "😀", "\u0301", "a\u0301", "1",    "!",   "<",   "<|im_end|>", "<|reserved_token_",
        "[", "'s",     "\u3000",  "\r\n", "! \n"}) {
    std::string text;
    while (text.size() < kBytes) text += unit;
    texts.emplace_back(unit, text);
  }
  for (const auto& [name, text] : texts) {
    for (EncodeMode mode : {kContent, kAllowSpecial}) {
      const std::clock_t start = std::clock();
      const Ids ids = Encode(*tokenizer, text, mode);
      const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      EXPECT_LT(seconds, kLimitSeconds) << name;
      RecordProperty(absl::StrCat(absl::CHexEscape(name), mode == kContent ? "" : " special"),
                     absl::StrCat(seconds, " s"));
      EXPECT_EQ(*tokenizer->Decode(ids, SpecialText::kShow), text) << name;
    }
  }
}

// ---- special tokens and their names ---------------------------------------------------------

std::string Config(const std::string& added) {
  return absl::StrCat(R"({"model_max_length": 1048576, "added_tokens_decoder": {)", added, "}}");
}

TEST(SpecialTokensTest, TakesNamesFromTheConfigAndReservesTheOthers) {
  const auto tokens = SpecialTokens::Create(
      Config(R"("1002": {"content": "<|im_end|>", "special": true}, "1100": {"content": "<x>"})"),
      1000, 1256);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->name(1002), "<|im_end|>");
  EXPECT_EQ(tokens->name(1100), "<x>");
  EXPECT_EQ(tokens->name(1003), "<|reserved_token_1003|>");
  const auto found = tokens->FindNext("a<x><|im_end|>", 0);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->id, 1100);
  EXPECT_EQ(found->begin, 1u);
  EXPECT_EQ(found->end, 4u);
  EXPECT_EQ(tokens->FindNext("<|im_user|>", 0), std::nullopt);
}

TEST(SpecialTokensTest, PrefersTheLongestNameAtAPlace) {
  const auto tokens = SpecialTokens::Create(
      Config(R"("1100": {"content": "<x"}, "1101": {"content": "<x>"})"), 1000, 1256);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->FindNext("<x>", 0)->id, 1101);
  EXPECT_EQ(tokens->FindNext("<x<x>", 0)->id, 1100);
}

TEST(SpecialTokensTest, RefusesWhatBelongsToAnotherTokenizer) {
  const std::pair<std::string, std::string> cases[] = {
      {"{", "not valid JSON"},
      {"[]", "not a JSON object"},
      {R"({"added_tokens_decoder": []})", "added_tokens_decoder is not a JSON object"},
      {Config(R"("999": {"content": "x"})"), "\"999\", special ids are 1000 to 1255"},
      {Config(R"("1256": {"content": "x"})"), "\"1256\""},
      {Config(R"("x": {"content": "x"})"), "\"x\""},
      {Config(R"("1100": {"content": 7})"), "id 1100: no content string"},
      {Config(R"("1100": "x")"), "id 1100: no content string"},
      {Config(R"("1100": {"content": ""})"), "the name of id 1100 has 0 bytes"},
      {Config(R"("1100": {"content": "x"}, "1101": {"content": "x"})"), "x names both id 1100"},
      {Config(R"("1002": {"content": "<|eot_id|>"})"), "id 1002 is named <|eot_id|>"},
      {Config(R"("1100": {"content": "<|im_end|>"})"), "<|im_end|> has id 1100"},
  };
  for (const auto& [config, message] : cases) {
    const auto status = SpecialTokens::Create(config, 1000, 1256).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << config;
    EXPECT_NE(std::string(status.message()).find(message), std::string::npos) << status;
  }
  for (int64_t vocab_size : {0, 1000, 1017, 1000 + kMaxSpecialTokens + 1}) {
    EXPECT_EQ(SpecialTokens::Create("", 1000, vocab_size).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(SpecialTokens::Create("", 1000, 1018).ok());
}

}  // namespace
}  // namespace rill
