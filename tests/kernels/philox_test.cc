#include "kernels/base/philox.h"

#include <array>
#include <cmath>

#include "gtest/gtest.h"

namespace rill::test {
namespace {

struct KnownAnswer {
  std::array<uint32_t, 4> counter;
  std::array<uint32_t, 2> key;
  std::array<uint32_t, 4> words;
};

// The philox4x32-10 lines of the known-answer file that comes with Random123.
TEST(Philox, GivesTheKnownAnswers) {
  const KnownAnswer answers[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const KnownAnswer& answer : answers) {
    uint32_t words[4];
    std::copy(answer.counter.begin(), answer.counter.end(), words);
    Philox4x32(words, answer.key[0], answer.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(words[i], answer.words[i]) << i;
  }
}

TEST(PhiloxUniform, IsTheTopOfTheFirstWord) {
  EXPECT_EQ(PhiloxUniform(0, 0), static_cast<float>(0x6627e8d5u >> 8) / 16777216.0f);
  // Seed and position fill the key and the counter's low half, low word first.
  uint32_t words[4] = {0x9abcdef0u, 0x12345678u, 0, 0};
  Philox4x32(words, 0x76543210u, 0xfedcba98u);
  EXPECT_EQ(PhiloxUniform(0xfedcba9876543210u, 0x123456789abcdef0u),
            static_cast<float>(words[0] >> 8) / 16777216.0f);
}

TEST(PhiloxUniform, CoversTheUnitIntervalEvenly) {
  constexpr int kBins = 64, kDraws = 64 * 4096;
  std::array<int, kBins> bins{};
  double lag = 0;
  float before = 0.5f;
  for (int i = 0; i < kDraws; ++i) {
    const float u = PhiloxUniform(42, i);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    ++bins[static_cast<int>(u * kBins)];
    lag += (u - 0.5) * (before - 0.5);
    before = u;
  }
  double chi_squared = 0;
  for (const int count : bins) chi_squared += std::pow(count - 4096.0, 2) / 4096.0;
  EXPECT_GT(chi_squared, 25);  // 63 degrees of freedom: a fixed seed, so this is no lottery
  EXPECT_LT(chi_squared, 125);
  EXPECT_LT(std::fabs(lag / kDraws * 12), 0.01) << "neighbouring positions must not be correlated";
}

}  // namespace
}  // namespace rill::test
