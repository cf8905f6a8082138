#include "kernels/ops/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gtest/gtest.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/rig.h"

namespace rill::test {
namespace {

struct Encoded {
  std::vector<char> bytes;
  MatrixView view;
};

Encoded Encode(WeightFormat format, const std::vector<float>& values, int64_t rows, int64_t cols) {
  Encoded e;
  e.bytes.assign(MatrixBytes(format, rows, cols) + 64, static_cast<char>(0xEE));
  e.view = BindMatrix(format, rows, cols, e.bytes.data());
  QuantizeRows(format, values.data(), rows, cols, e.bytes.data(), const_cast<void*>(e.view.scales));
  return e;
}

std::vector<float> Decode(const MatrixView& view) {
  std::vector<float> out(view.rows * view.cols);
  for (int64_t row = 0; row < view.rows; ++row)
    DequantizeRow(view, row, out.data() + row * view.cols);
  return out;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - b[i], 2);
  return sum;
}

// Symmetric rounding without a search: scale = extreme / denominator, rounded to float16.
double PlainError(const std::vector<float>& x, double denominator) {
  float extreme = 0;
  for (const float v : x) extreme = std::fabs(v) > std::fabs(extreme) ? v : extreme;
  const double scale = ToFloat(ToF16(static_cast<float>(extreme / denominator)));
  double sum = 0;
  for (const float v : x) {
    const double code = scale == 0 ? 0 : std::clamp(std::nearbyint(v / scale), -8.0, 7.0);
    sum += std::pow(v - code * scale, 2);
  }
  return sum;
}

std::vector<float> AwkwardGroup(Random& random, int kind) {
  switch (kind) {
    case 0:
      return random.Normal(32);
    case 1:
      return random.Normal(32, 1e-4f);
    case 2:
      return random.Normal(32, 1e3f);
    case 3:
      return random.Floats(32, -1, 1);
    case 4:
      return random.Floats(32, 0, 1);
    case 5:
      return random.Floats(32, -1, 0);
    case 6: {  // one outlier
      std::vector<float> x = random.Normal(32, 0.01f);
      x[random.Int(0, 31)] = random.Uniform(-3, 3);
      return x;
    }
    case 7: {  // exact multiples of a scale, so that a perfect code exists
      std::vector<float> x(32);
      for (float& v : x) v = static_cast<float>(random.Int(-8, 7)) * 0.25f;
      x[0] = -2;
      return x;
    }
    default:
      return std::vector<float>(32, random.Uniform(-1, 1));
  }
}

TEST(QuantizeQ4, IsNeverWorseThanPlainRoundingOfEitherSign) {
  Random random;
  for (int i = 0; i < 20000; ++i) {
    const std::vector<float> x = AwkwardGroup(random, i % 9);
    const double error = SquaredError(x, Rounded(WeightFormat::kQ4, x, 1, 32));
    const double plain = std::min(PlainError(x, 7), PlainError(x, -8));
    double size = 0;
    for (const float v : x) size += double{v} * v;
    // Float32 sums decide between near-equal candidates.
    ASSERT_LE(error, plain * (1 + 1e-5) + size * 1e-12) << "kind " << i % 9;
  }
}

TEST(QuantizeQ4, SearchPaysOnWeightsLikeTheModels) {
  Random random;
  QuantError searched, plain;
  for (int i = 0; i < 4000; ++i) {
    const std::vector<float> x = random.Normal(32, 0.02f);
    searched.Add(x, Rounded(WeightFormat::kQ4, x, 1, 32));
    plain.squared_error += std::min(PlainError(x, 7), PlainError(x, -8));
  }
  plain.squared_value = searched.squared_value;
  RecordProperty("searched", std::to_string(searched.RelativeRms()));
  RecordProperty("plain", std::to_string(plain.RelativeRms()));
  EXPECT_LT(searched.RelativeRms(), 0.97 * plain.RelativeRms());
  EXPECT_LT(searched.RelativeRms(), 0.083) << "an exhaustive search of scales reaches 0.0808";
}

TEST(QuantizeQ4, CodesExactMultiplesExactlyAndUsesMinusEight) {
  Random random;
  for (int i = 0; i < 1000; ++i) {
    std::vector<float> x(32);
    const float sign = i % 2 == 0 ? 1.0f : -1.0f;
    for (float& v : x) v = sign * 0.125f * static_cast<float>(random.Int(-8, 7));
    x[5] = sign * -1.0f;  // code -8: the scale is negative when sign is
    x[6] = sign * 0.125f * 7;
    EXPECT_EQ(SquaredError(x, Rounded(WeightFormat::kQ4, x, 1, 32)), 0);
  }
}

TEST(QuantizeQ4, ByteJHoldsInputsJAndJPlus16) {
  std::vector<float> x(32);
  for (int i = 0; i < 32; ++i) x[i] = static_cast<float>(i % 16 - 8);
  x[31] = 3;
  const Encoded e = Encode(WeightFormat::kQ4, x, 1, 32);
  const float scale = ToFloat(*static_cast<const F16*>(e.view.scales));
  ASSERT_EQ(scale, 1.0f);
  for (int j = 0; j < 16; ++j) {
    const uint8_t byte = static_cast<uint8_t>(e.bytes[j]);
    EXPECT_EQ((byte & 15) - 8, x[j]) << j;
    EXPECT_EQ((byte >> 4) - 8, x[j + 16]) << j;
  }
}

TEST(QuantizeQ8, ErrorIsAtMostHalfAStep) {
  Random random;
  for (int i = 0; i < 5000; ++i) {
    const std::vector<float> x = AwkwardGroup(random, i % 9);
    const Encoded e = Encode(WeightFormat::kQ8, x, 1, 32);
    float absmax = 0;
    for (const float v : x) absmax = std::max(absmax, std::fabs(v));
    const float scale = ToFloat(*static_cast<const F16*>(e.view.scales));
    EXPECT_NEAR(scale, absmax / 127, absmax / 127 / 1024 + 6e-8) << "kind " << i % 9;
    const std::vector<float> decoded = Decode(e.view);
    // Rounding the scale to float16 may cost the extreme element up to 127 * 2^-12 of a step more.
    for (int j = 0; j < 32; ++j)
      ASSERT_LE(std::fabs(decoded[j] - x[j]), scale * 0.54f + 127 * 6e-8f) << x[j];
    for (int j = 0; j < 32; ++j) ASSERT_NE(static_cast<int8_t>(e.bytes[j]), -128);
  }
}

TEST(QuantizeRows, ZeroGroupsAndPaddingAreZero) {
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    const Encoded zero = Encode(format, std::vector<float>(70), 1, 70);
    for (int g = 0; g < 3; ++g) EXPECT_EQ(static_cast<const F16*>(zero.view.scales)[g].bits, 0);
    EXPECT_EQ(Decode(zero.view), std::vector<float>(70));
    // 70 columns are three groups; the last has 26 padded codes that must decode to zero.
    const Encoded padded = Encode(format, std::vector<float>(70, 1.0f), 1, 70);
    MatrixView whole = padded.view;
    whole.cols = 96;
    const std::vector<float> decoded = Decode(whole);
    for (int i = 0; i < 70; ++i) EXPECT_NEAR(decoded[i], 1.0f, 0.01f);
    for (int i = 70; i < 96; ++i) EXPECT_EQ(decoded[i], 0.0f) << Name(format) << " " << i;
  }
}

TEST(QuantizeRows, WritesItsRowsAndNothingElse) {
  Random random;
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t cols : {1, 31, 32, 33, 127, 130}) {
      const int64_t rows = 5;
      const std::vector<float> x = random.Normal(rows * cols);
      const Encoded whole = Encode(format, x, rows, cols);
      for (uint64_t i = ValuesBytes(format, rows, cols); i < ScalesOffset(format, rows, cols);
           ++i) {
        ASSERT_EQ(static_cast<uint8_t>(whole.bytes[i]), 0xEE) << "padding between the planes";
      }
      for (uint64_t i = ScalesOffset(format, rows, cols) + ScalesBytes(format, rows, cols);
           i < whole.bytes.size(); ++i) {
        ASSERT_EQ(static_cast<uint8_t>(whole.bytes[i]), 0xEE) << "past the end";
      }
      // Rows encoded in two goes are the same bytes: a converter works in slices.
      std::vector<char> sliced(whole.bytes.size(), static_cast<char>(0xEE));
      MatrixView view = BindMatrix(format, rows, cols, sliced.data());
      for (const auto& [begin, n] : {std::pair<int64_t, int64_t>{0, 2}, {2, 3}}) {
        const MatrixView part = view.Rows(begin, n);
        QuantizeRows(format, x.data() + begin * cols, n, cols, const_cast<void*>(part.values),
                     const_cast<void*>(part.scales));
      }
      EXPECT_EQ(memcmp(sliced.data(), whole.bytes.data(), sliced.size()), 0)
          << Name(format) << " " << cols;
    }
  }
}

TEST(QuantizeRows, Bf16RoundsToNearestEvenAndF32IsExact) {
  Random random;
  const std::vector<float> x = random.Normal(7 * 45);
  EXPECT_TRUE(SameBits(Rounded(WeightFormat::kF32, x, 7, 45), x));
  std::vector<float> want = x;
  for (float& v : want) v = ToFloat(ToBf16(v));
  EXPECT_TRUE(SameBits(Rounded(WeightFormat::kBf16, x, 7, 45), want));
}

TEST(QuantizeRows, StaysFiniteForTheLargestAndSmallestFloats) {
  for (const WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    for (const float size : {3.4e38f, 1e30f, 1e6f, 1e-20f, 1e-38f, 1e-45f}) {
      std::vector<float> x(32, size);
      x[1] = -size;
      x[2] = 0;
      for (const float v : Rounded(format, x, 1, 32))
        EXPECT_TRUE(std::isfinite(v)) << Name(format) << " " << size;
    }
  }
}

TEST(QuantError, IsARelativeRootMeanSquare) {
  QuantError error;
  EXPECT_EQ(error.RelativeRms(), 0);
  const float exact[] = {3, 4}, coded[] = {3, 4.5f};
  error.Add(exact, coded);
  EXPECT_NEAR(error.RelativeRms(), 0.1, 1e-12);
  QuantError twice = error;
  twice.Add(exact, coded);
  EXPECT_NEAR(twice.RelativeRms(), 0.1, 1e-12);
}

}  // namespace
}  // namespace rill::test
