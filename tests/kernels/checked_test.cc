#include "kernels/base/checked.h"

#include "gtest/gtest.h"

namespace rill::test {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(Checked, AddKnowsWhereItEnds) {
  EXPECT_EQ(CheckedAdd(kMax - 1, 1), kMax);
  EXPECT_EQ(CheckedAdd(kMax, 0), kMax);
  EXPECT_EQ(CheckedAdd(kMax, 1), std::nullopt);
  EXPECT_EQ(CheckedAdd(1ull << 63, 1ull << 63), std::nullopt);
}

TEST(Checked, MulKnowsWhereItEnds) {
  EXPECT_EQ(CheckedMul(0, kMax), 0u);
  EXPECT_EQ(CheckedMul(kMax, 0), 0u);
  EXPECT_EQ(CheckedMul(1ull << 32, (1ull << 32) - 1), kMax - (1ull << 32) + 1);
  EXPECT_EQ(CheckedMul(1ull << 32, 1ull << 32), std::nullopt);
  EXPECT_EQ(CheckedMul(kMax, 2), std::nullopt);
  EXPECT_EQ(CheckedMul(kMax / 3, 3), kMax);
}

TEST(Checked, ProductStopsAtTheFirstOverflow) {
  EXPECT_EQ(CheckedProduct(), 1u);
  EXPECT_EQ(CheckedProduct(3, 5, 7), 105u);
  EXPECT_EQ(CheckedProduct(1ull << 40, 1ull << 30, 0), std::nullopt);
  EXPECT_EQ(CheckedProduct(0, 1ull << 40, 1ull << 30), 0u);
}

TEST(Checked, AlignUpKnowsWhereItEnds) {
  EXPECT_EQ(CheckedAlignUp(0, 64), 0u);
  EXPECT_EQ(CheckedAlignUp(1, 64), 64u);
  EXPECT_EQ(CheckedAlignUp(64, 64), 64u);
  EXPECT_EQ(CheckedAlignUp(kMax - 63, 64), kMax - 63);
  EXPECT_EQ(CheckedAlignUp(kMax - 62, 64), std::nullopt);
  EXPECT_EQ(AlignUp(65, 64), 128u);
}

TEST(CeilDiv, RoundsUp) {
  EXPECT_EQ(CeilDiv(0, 32), 0);
  EXPECT_EQ(CeilDiv(1, 32), 1);
  EXPECT_EQ(CeilDiv(32, 32), 1);
  EXPECT_EQ(CeilDiv(33, 32), 2);
}

}  // namespace
}  // namespace rill::test
