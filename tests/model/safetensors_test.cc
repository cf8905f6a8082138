#include "model/convert/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace rill {
namespace {

using test::SafetensorsFile;

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensorsHeader(file, file.size());
}

template <typename... Parts>
std::string Header(const Parts&... parts) {
  return absl::StrCat("{", parts..., "}");
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// What every accepted header promises.
void ExpectTiles(const SafetensorsHeader& header, uint64_t file_bytes) {
  uint64_t cursor = header.data_offset;
  for (const SafetensorsEntry& t : header.tensors) {
    EXPECT_EQ(t.begin, cursor) << t.name;
    uint64_t n = SafetensorsElementBytes(t.dtype);
    for (const uint64_t d : t.shape) n *= d;
    EXPECT_EQ(t.end - t.begin, n) << t.name;
    cursor = t.end;
  }
  EXPECT_EQ(cursor, file_bytes);
}

TEST(SafetensorsTest, ReadsGoldenCheckpoints) {
  for (const std::string name : {"tiny_a", "tiny_b"}) {
    const std::string path =
        std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name + "/model.safetensors";
    const auto file = FileSystem::Posix()->OpenForReading(path);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto header = ReadSafetensorsHeader(**file);
    ASSERT_TRUE(header.ok()) << header.status();
    ExpectTiles(*header, (*file)->size());
    const auto expected = test::ReadSafetensors(path);
    const std::string bytes = test::ReadFile(path);
    ASSERT_EQ(header->tensors.size(), expected.size());
    for (const SafetensorsEntry& t : header->tensors) {
      ASSERT_TRUE(expected.contains(t.name)) << t.name;
      const test::StoredTensor& want = expected.at(t.name);
      EXPECT_EQ(t.dtype, want.dtype) << t.name;
      EXPECT_EQ(t.shape, std::vector<uint64_t>(want.shape.begin(), want.shape.end())) << t.name;
      EXPECT_EQ(bytes.substr(t.begin, t.end - t.begin), want.bytes) << t.name;
    }
  }
}

TEST(SafetensorsTest, AcceptsWhatTheFormatAllows) {
  struct Case {
    std::string header;
    size_t data, tensors;
  };
  const Case cases[] = {
      {"{}", 0, 0},
      {"{\"__metadata__\":{\"a\":\"b\",\"c\":\"d\"}}   ", 0, 0},
      {Header(Tensor("scalar", "F64", "[]", 0, 8)), 8, 1},
      {Header(Tensor("empty", "F32", "[0,7]", 0, 0), ",", Tensor("x", "U8", "[3]", 0, 3)), 3, 2},
      {Header(Tensor("second", "BF16", "[2]", 3, 7), ",", Tensor("first", "I8", "[3]", 0, 3)) +
           "\n",
       7, 2},
      {Header(Tensor("deep", "F16", "[1,1,1,1,1,1,1,2]", 0, 4)), 4, 1},
      {Header(Tensor(std::string(512, 'n'), "BOOL", "[1]", 0, 1)), 1, 1},
  };
  for (const Case& c : cases) {
    const std::string file = SafetensorsFile(c.header, std::string(c.data, 'x'));
    const auto header = Parse(file);
    ASSERT_TRUE(header.ok()) << c.header << ": " << header.status();
    EXPECT_EQ(header->tensors.size(), c.tensors) << c.header;
    ExpectTiles(*header, file.size());
  }
}

TEST(SafetensorsTest, RefusesWrongHeadersByName) {
  struct Case {
    std::string header;
    size_t data;
    std::vector<std::string> message;
  };
  const std::string good = Tensor("a", "F32", "[2]", 0, 8);
  const Case cases[] = {
      {"", 0, {"does not start with '{'"}},
      {" {}", 0, {"does not start with '{'"}},
      {"[]", 0, {"does not start with '{'"}},
      {"{", 0, {"not JSON at byte"}},
      {"{}{}", 0, {"not JSON at byte 3"}},
      {"{\"a\":1}", 0, {"tensor a", "unexpected the number 1"}},
      {"{\"a\":-1}", 0, {"tensor a", "unexpected the number -1"}},
      {"{\"a\":1.5}", 0, {"tensor a", "unexpected the number 1.5"}},
      {"{\"a\":1e999}", 0, {"not JSON"}},
      {"{\"a\":null}", 0, {"tensor a", "unexpected null"}},
      {"{\"a\":true}", 0, {"tensor a", "unexpected a boolean"}},
      {"{\"a\":\"x\\ny\"}", 0, {"tensor a", "unexpected the string \"x\\ny\""}},
      {"{\"a\":[]}", 0, {"tensor a", "unexpected an array"}},
      {"{\"a\":{}}", 0, {"tensor a: no dtype"}},
      {"{\"a\":{\"dtype\":\"F32\"}}", 0, {"tensor a: no shape"}},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, {"tensor a: no data_offsets"}},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, {"tensor a: two dtype entries"}},
      {"{\"a\":{\"shape\":[1],\"shape\":[1]}}", 0, {"tensor a: two shape entries"}},
      {"{\"a\":{\"colour\":1}}", 0, {"tensor a", "unexpected the key \"colour\""}},
      {"{\"a\":{\"dtype\":7}}", 0, {"tensor a", "unexpected the number 7"}},
      {"{\"a\":{\"dtype\":\"Q4\"}}", 0, {"tensor a: unknown type Q4"}},
      {"{\"a\":{\"dtype\":{}}}", 0, {"tensor a", "unexpected an object"}},
      {"{\"a\":{\"shape\":[-1]}}", 0, {"tensor a", "unexpected the number -1"}},
      {"{\"a\":{\"shape\":[1.0]}}", 0, {"tensor a", "unexpected the number 1.0"}},
      {"{\"a\":{\"shape\":[[1]]}}", 0, {"tensor a", "unexpected an array"}},
      {"{\"a\":{\"shape\":[18446744073709551616]}}",
       0,
       {"tensor a", "unexpected the number 18446744073709551616"}},
      {"{\"a\":{\"shape\":[1,1,1,1,1,1,1,1,1]}}", 0, {"tensor a: more than 8 dimensions"}},
      {"{\"a\":{\"data_offsets\":[1]}}", 0, {"tensor a: 1 data_offsets, not 2"}},
      {"{\"a\":{\"data_offsets\":[1,2,3]}}", 0, {"tensor a", "unexpected the number 3"}},
      {Header(good, ",", good), 8, {"tensor a appears twice"}},
      {Header(good, ",\"\\u0061\":{}"), 8, {"tensor a appears twice"}},
      {"{\"\":{}}", 0, {"a tensor without a name"}},
      {Header(Tensor(std::string(513, 'n'), "U8", "[1]", 0, 1)),
       1,
       {"a name of 513 bytes", "at most 512"}},
      {"{\"__metadata__\":{\"a\":1}}", 0, {"header", "unexpected the number 1"}},
      {"{\"__metadata__\":{\"a\":{}}}", 0, {"header", "unexpected an object"}},
      {"{\"__metadata__\":\"a\"}", 0, {"header", "unexpected the string \"a\""}},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"two __metadata__"}},
      {Header(Tensor("a", "F32", "[2]", 8, 0)), 8, {"tensor a", "starts at byte 8 and ends at 0"}},
      {Header(Tensor("a", "F32", "[3]", 0, 8)),
       8,
       {"tensor a", "F32 of shape [3] has 12 bytes", "hold 8"}},
      {Header(Tensor("a", "BF16", "[2]", 0, 8)), 8, {"tensor a", "has 4 bytes", "hold 8"}},
      {Header(Tensor("a", "F32", "[4294967296,4294967296]", 0, 8)),
       8,
       {"tensor a", "more than 2^64"}},
      {Header(Tensor("a", "F64", "[2305843009213693952]", 0, 0)),
       0,
       {"tensor a", "more than 2^64"}},
      {Header(Tensor("a", "F32", "[2]", 4, 12)), 12, {"tensor a", "starts at byte 4", "ends at 0"}},
      {Header(good, ",", Tensor("b", "F32", "[1]", 12, 16)),
       16,
       {"tensor b", "at byte 12", "ends at 8"}},
      {Header(good, ",", Tensor("b", "F32", "[2]", 4, 12)),
       12,
       {"tensor b", "at byte 4", "ends at 8"}},
      {Header(good, ",", Tensor("b", "F32", "[2]", 0, 8)),
       8,
       {"tensor b", "at byte 0", "ends at 8"}},
      {Header(good), 9, {"end at byte 8", "the file has 9"}},
      {"{}", 1, {"end at byte 0", "the file has 1"}},
      {Header(good), 7, {"tensor a", "ends at byte 8", "the file has 7", "cut short"}},
      {Header(Tensor("a", "U8", "[18446744073709551615]", 0, UINT64_MAX)),
       8,
       {"tensor a", "18446744073709551615", "the file has 8"}},
      {"{\"a\xff\":{}}", 0, {"not JSON"}},
  };
  for (const Case& c : cases) {
    const auto header = Parse(SafetensorsFile(c.header, std::string(c.data, 'x')));
    ASSERT_FALSE(header.ok()) << c.header;
    const std::string message(header.status().message());
    for (const std::string& part : c.message) {
      EXPECT_NE(message.find(part), std::string::npos)
          << c.header << "\n  lacks: " << part << "\n  says: " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(SafetensorsTest, BoundsTheHeaderBeforeReadingIt) {
  std::string file = SafetensorsFile("{}", "");
  for (size_t n = 0; n < 8; ++n) {
    const auto header = Parse(file.substr(0, n));
    EXPECT_TRUE(absl::IsDataLoss(header.status())) << n << ": " << header.status();
  }
  file[7] = 1;  // 2^56 bytes of header
  const auto huge = Parse(file);
  ASSERT_TRUE(absl::IsInvalidArgument(huge.status())) << huge.status();
  EXPECT_NE(huge.status().message().find("at most 100000000"), std::string::npos) << huge.status();
  const auto cut = Parse(SafetensorsFile("{}", "").substr(0, 9));
  ASSERT_TRUE(absl::IsDataLoss(cut.status())) << cut.status();
  // The bytes may be less than the file, but not less than the header.
  const std::string whole = SafetensorsFile(Header(Tensor("a", "U8", "[4]", 0, 4)), "wxyz");
  EXPECT_TRUE(ParseSafetensorsHeader({whole.data(), whole.size() - 4}, whole.size()).ok());
  EXPECT_FALSE(ParseSafetensorsHeader({whole.data(), whole.size() - 5}, whole.size()).ok());
}

TEST(SafetensorsTest, NestingCostsNothing) {
  for (const std::string deep : {"[", "{\"a\":"}) {
    std::string header = "{\"a\":";
    for (int i = 0; i < 1'000'000; ++i) header += deep;
    EXPECT_FALSE(Parse(SafetensorsFile(header, "")).ok());
  }
}

TEST(SafetensorsTest, CutsAndFlipsNeverPassAsSomethingElse) {
  test::SafetensorsWriter writer;
  writer.Add("model.a", {"F32", {2, 3}, std::string(24, 'a')});
  writer.Add("model.b", {"BF16", {5}, std::string(10, 'b')});
  const std::string file = writer.Bytes();
  ASSERT_TRUE(Parse(file).ok());
  for (size_t n = 0; n < file.size(); ++n) EXPECT_FALSE(Parse(file.substr(0, n)).ok()) << n;
  const size_t header_end = file.size() - 34;
  for (size_t bit = 0; bit < 8 * header_end; ++bit) {
    std::string broken = file;
    broken[bit / 8] ^= static_cast<char>(1 << bit % 8);
    // A flip inside a name makes another good file: the promises hold for that one.
    if (const auto header = Parse(broken); header.ok()) ExpectTiles(*header, broken.size());
  }
}

TEST(SafetensorsTest, RandomEditsKeepThePromises) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  test::SafetensorsWriter writer;
  for (const char* name : {"x", "y", "z"}) writer.Add(name, {"F16", {2, 2}, std::string(8, 'x')});
  const std::string file = writer.Bytes();
  const std::string tokens[] = {"{", "}",  "[", "]",    ",",   ":",   "\"",     "0",
                                "8", "16", "-", "null", "F16", "1e9", "\\u0000"};
  for (int i = 0; i < 20'000; ++i) {
    std::string header = file.substr(8, file.size() - 8 - 24);
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      header.replace(random() % header.size(), random() % 3, tokens[random() % std::size(tokens)]);
    }
    const std::string edited = SafetensorsFile(header, std::string(24, 'x'));
    if (const auto parsed = Parse(edited); parsed.ok()) ExpectTiles(*parsed, edited.size());
  }
}

}  // namespace
}  // namespace rill
