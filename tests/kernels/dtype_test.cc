#include "kernels/base/dtype.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace rill::test {
namespace {

bool IsNan16(uint16_t bits, uint16_t exponent_mask, uint16_t mantissa_mask) {
  return (bits & exponent_mask) == exponent_mask && (bits & mantissa_mask) != 0;
}

TEST(Bf16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Bf16 value{static_cast<uint16_t>(bits)};
    const float wide = ToFloat(value);
    if (IsNan16(value.bits, 0x7f80, 0x7f)) {
      EXPECT_TRUE(std::isnan(wide)) << bits;
      EXPECT_TRUE(std::isnan(ToFloat(ToBf16(wide)))) << bits;
    } else {
      EXPECT_EQ(ToBf16(wide).bits, value.bits);
    }
  }
}

TEST(F16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const F16 value{static_cast<uint16_t>(bits)};
    const float wide = ToFloat(value);
    const int exponent = (value.bits >> 10) & 31, mantissa = value.bits & 1023;
    if (exponent == 31 && mantissa != 0) {
      EXPECT_TRUE(std::isnan(wide)) << bits;
      EXPECT_TRUE(std::isnan(ToFloat(ToF16(wide)))) << bits;
      continue;
    }
    const double magnitude = exponent == 31  ? INFINITY
                             : exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(1024 + mantissa, exponent - 25);
    EXPECT_EQ(wide, bits & 0x8000 ? -magnitude : magnitude) << bits;
    EXPECT_EQ(ToF16(wide).bits, value.bits);
  }
}

// The narrow value nearest to `f` among the two neighbours `low` and `low + 1`; the even one when
// both are as near.
template <typename Narrow>
uint16_t Nearest(float f, uint16_t low) {
  const double below = ToFloat(Narrow{low}),
               above = ToFloat(Narrow{static_cast<uint16_t>(low + 1)});
  const double down = std::fabs(f - below), up = std::fabs(above - f);
  if (down != up) return down < up ? low : low + 1;
  return low % 2 == 0 ? low : low + 1;
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7f7f;
       ++bits) {  // the last gap, to infinity, has no middle in this sense
    for (const uint32_t tail : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float f = BitsToFloat(bits << 16 | tail);
      const uint16_t want = Nearest<Bf16>(f, static_cast<uint16_t>(bits));
      ASSERT_EQ(ToBf16(f).bits, want) << f;
      ASSERT_EQ(ToBf16(-f).bits, want | 0x8000) << f;
    }
  }
}

TEST(F16, RoundsToNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = ToFloat(F16{static_cast<uint16_t>(bits)}),
                high = ToFloat(F16{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;  // exact: float32 has the bits to spare
    for (const float f : {low, std::nextafter(middle, low), middle, std::nextafter(middle, high),
                          std::nextafter(high, low)}) {
      const uint16_t want = Nearest<F16>(f, static_cast<uint16_t>(bits));
      ASSERT_EQ(ToF16(f).bits, want) << f;
      ASSERT_EQ(ToF16(-f).bits, want | 0x8000) << f;
    }
  }
}

TEST(F16, OverflowsToInfinityFromHalfPastTheLargest) {
  EXPECT_EQ(ToF16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(ToF16(std::nextafter(65520.0f, 0.0f)).bits, 0x7bff);
  EXPECT_EQ(ToF16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(ToF16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(ToF16(-INFINITY).bits, 0xfc00);
}

TEST(Bf16, OverflowsToInfinityAndKeepsNan) {
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(ToBf16(BitsToFloat(0x7f7f7fff)).bits, 0x7f7f);
  EXPECT_TRUE(std::isnan(ToFloat(ToBf16(BitsToFloat(0x7f800001)))))
      << "truncation alone would give infinity";
  EXPECT_TRUE(std::isnan(ToFloat(ToF16(BitsToFloat(0x7f800001)))));
}

TEST(NarrowTypes, RandomFloatsLandOnANeighbour) {
  Random random;
  for (int i = 0; i < 200000; ++i) {
    const float f = BitsToFloat(static_cast<uint32_t>(random.Bits()) & 0x7fffffffu);
    if (std::isnan(f)) continue;
    const float bf16 = ToFloat(ToBf16(f)), f16 = ToFloat(ToF16(f));
    if (std::isfinite(bf16)) {
      ASSERT_LE(std::fabs(bf16 - f), std::max(std::ldexp(f, -8), std::ldexp(1.0f, -134))) << f;
    }
    if (f < 65504) {
      ASSERT_LE(std::fabs(f16 - f), std::max(std::ldexp(f, -11), std::ldexp(1.0f, -25))) << f;
    }
  }
}

TEST(DTypeNames, AndSizes) {
  EXPECT_EQ(Name(DType::kBf16), "bf16");
  EXPECT_EQ(SizeOf(DType::kBf16), 2);
  EXPECT_EQ(SizeOf(DType::kF32), 4);
  EXPECT_EQ(SizeOf(DType::kI8), 1);
}

}  // namespace
}  // namespace rill::test
