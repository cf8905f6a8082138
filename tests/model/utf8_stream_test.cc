#include "model/tokenizer/utf8_stream.h"

#include <gtest/gtest.h>

#include "model/tokenizer/utf8.h"
#include "tests/model/test_vocabulary.h"
#include "tests/support/random.h"

namespace rill {
namespace {

struct Vector {
  std::string bytes;
  std::string text;  // Python's bytes.decode('utf-8', errors='replace')
};

std::vector<Vector> Vectors() {
  std::vector<Vector> vectors;
  for (const auto& row : ReadVectors("utf8_vectors.json")) {
    vectors.push_back({absl::HexStringToBytes(row[0].get<std::string>()), row[1]});
  }
  return vectors;
}

// Pushes the bytes in chunks that end after byte i where bit i of `cuts` is set.
std::string Stream(const std::string& bytes, uint64_t cuts) {
  Utf8Stream stream;
  std::string text;
  size_t begin = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if ((cuts >> i & 1) == 0 && i + 1 < bytes.size()) continue;
    stream.Push(std::string_view(bytes).substr(begin, i + 1 - begin), &text);
    EXPECT_EQ(ValidUtf8Bytes(text), text.size()) << "half a character was emitted";
    EXPECT_LE(stream.pending().size(), 3u);
    begin = i + 1;
  }
  stream.Flush(&text);
  EXPECT_TRUE(stream.pending().empty());
  return text;
}

TEST(Utf8StreamTest, ReplacesMalformedBytesAsPythonDoesInEveryChunking) {
  const auto vectors = Vectors();
  ASSERT_GT(vectors.size(), 1000u);
  for (const auto& [bytes, text] : vectors) {
    const size_t n_cuts = bytes.empty() ? 0 : bytes.size() - 1;
    for (uint64_t cuts = 0; cuts < uint64_t{1} << std::min<size_t>(n_cuts, 11); ++cuts) {
      ASSERT_EQ(Stream(bytes, cuts), text) << absl::BytesToHexString(bytes) << " cut at " << cuts;
    }
  }
}

TEST(Utf8StreamTest, KeepsValidTextAndCompletesEachCharacterAtItsLastByte) {
  std::mt19937_64 random(test::Seed());
  const std::string source = RandomText(random, 3000);
  Utf8Stream stream;
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    stream.Push(source.substr(i, 1), &text);
    EXPECT_EQ(text.size() + stream.pending().size(), i + 1);
    EXPECT_EQ(text.size(), ValidUtf8Bytes(std::string_view(source).substr(0, i + 1)));
  }
  stream.Flush(&text);
  EXPECT_EQ(text, source);
}

TEST(Utf8StreamTest, ResumesFromItsPendingBytesAndFromACopy) {
  for (const auto& [bytes, text] : Vectors()) {
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      Utf8Stream first;
      std::string start;
      first.Push(std::string_view(bytes).substr(0, cut), &start);
      auto resumed = Utf8Stream::FromPending(std::string(first.pending()));
      ASSERT_TRUE(resumed.ok()) << resumed.status();
      for (Utf8Stream stream : {first, *resumed}) {
        std::string whole = start;
        stream.Push(std::string_view(bytes).substr(cut), &whole);
        stream.Flush(&whole);
        ASSERT_EQ(whole, text);
      }
    }
  }
}

TEST(Utf8StreamTest, RefusesPendingBytesThatNoStreamHolds) {
  for (const char* bad : {"a", "\x80", "\xE4\xB8\x96", "\xC0", "\xE4z", "\xF0\x9F\x98\x80\xF0"}) {
    EXPECT_EQ(Utf8Stream::FromPending(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Utf8Test, FindsTheFirstByteThatIsNoUtf8) {
  for (const auto& [bytes, text] : Vectors()) {
    EXPECT_EQ(ValidUtf8Bytes(bytes) == bytes.size(), bytes == text);
    const size_t valid = ValidUtf8Bytes(bytes);
    EXPECT_EQ(bytes.substr(0, valid), text.substr(0, valid));
    EXPECT_EQ(text.substr(valid, 3), valid < bytes.size() ? kReplacementCharacter : "");
  }
}

}  // namespace
}  // namespace rill
