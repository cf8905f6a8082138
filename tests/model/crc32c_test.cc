// CRC32C and SHA-256 against published vectors and plain definitions.
#include "model/io/crc32c.h"

#include <string>

#include "gtest/gtest.h"
#include "model/io/sha256.h"
#include "tests/support/random.h"

namespace rill {
namespace {

using test::Random;

// Bit by bit, from the polynomial alone.
uint32_t PlainCrc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

std::string RandomBytes(Random& random, size_t n) {
  std::string bytes(n, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Bits());
  return bytes;
}

TEST(Crc32cTest, PublishedVectors) {  // RFC 3720, appendix B.4
  const std::string zeros(32, '\0'), ones(32, '\xff');
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up += static_cast<char>(i);
    down += static_cast<char>(31 - i);
  }
  EXPECT_EQ(Crc32c(zeros.data(), zeros.size()), 0x8a9136aau);
  EXPECT_EQ(Crc32c(ones.data(), ones.size()), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(up.data(), up.size()), 0x46dd794eu);
  EXPECT_EQ(Crc32c(down.data(), down.size()), 0x113fdb5cu);
  EXPECT_EQ(Crc32c("123456789", 9), 0xe3069283u);
  EXPECT_EQ(Crc32c(nullptr, 0), 0u);
}

TEST(Crc32cTest, EveryBodyEqualsTheDefinition) {
  Random random;
  for (size_t n : {0, 1, 7, 8, 9, 63, 64, 4095, 4096, 12287, 12288, 12289, 24576, 40000, 65537}) {
    const std::string bytes = RandomBytes(random, n + 8);
    for (size_t shift : {0, 1, 5}) {  // of the first byte from alignment
      const std::string part = bytes.substr(shift, n);
      const uint32_t expected = PlainCrc32c(part);
      EXPECT_EQ(Crc32c(bytes.data() + shift, n), expected) << n << " + " << shift;
      EXPECT_EQ(Crc32cByTable(bytes.data() + shift, n), expected) << n << " + " << shift;
    }
  }
}

TEST(Crc32cTest, Continues) {
  Random random;
  const std::string bytes = RandomBytes(random, 30000);
  const uint32_t whole = Crc32c(bytes.data(), bytes.size());
  for (int i = 0; i < 50; ++i) {
    const size_t cut = random.Int(0, 30000);
    const uint32_t first = Crc32c(bytes.data(), cut);
    EXPECT_EQ(Crc32c(bytes.data() + cut, bytes.size() - cut, first), whole) << cut;
    EXPECT_EQ(Crc32cByTable(bytes.data() + cut, bytes.size() - cut, first), whole) << cut;
  }
}

std::string Hex(const Sha256Digest& digest) {
  std::string text;
  for (uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string HashOf(const std::string& text) {
  Sha256 sha;
  sha.Update(text.data(), text.size());
  return Hex(sha.Finish());
}

TEST(Sha256Test, PublishedVectors) {  // FIPS 180-4 examples
  EXPECT_EQ(HashOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HashOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HashOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HashOf("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                   "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(HashOf(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PartsDoNotMatter) {
  Random random;
  for (size_t n = 0; n < 200; ++n) {
    const std::string bytes = RandomBytes(random, n);
    Sha256 sha;
    for (size_t at = 0; at < n;) {
      const size_t part = std::min<size_t>(random.Int(0, 70), n - at);
      sha.Update(bytes.data() + at, part);
      at += part;
    }
    EXPECT_EQ(Hex(sha.Finish()), HashOf(bytes)) << n;
  }
}

}  // namespace
}  // namespace rill
