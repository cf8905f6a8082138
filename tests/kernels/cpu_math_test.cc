// The elementary functions inside the cpu device, seen through the operators that are little else,
// against libm in double precision; and that every instruction set gives the same bits.
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/cpu/isa.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"

namespace rill::test {
namespace {

constexpr CpuIsa kIsas[] = {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kNeon};

class CpuMathTest : public ::testing::TestWithParam<CpuIsa> {
 protected:
  void SetUp() override {
    if (!Supports(GetParam())) GTEST_SKIP() << "this processor has no " << Name(GetParam());
    isa_ = cpu::GetIsa(GetParam());
    ASSERT_NE(isa_, nullptr);
  }
  float Exp(float x) const { return isa_->sum_exp(&x, 0, 1); }
  float Softplus(float x) const {
    float zero = 0, g = 0;
    isa_->kda_decay(&x, &zero, 0, 1, &g);  // -e^0 softplus(x + 0)
    return -g;
  }
  float Sigmoid(float x) const {
    float y;
    isa_->sigmoid(&x, 1, &y);
    return y;
  }
  float Silu(float x) const {
    float one = 1, y;
    isa_->swiglu(&x, &one, 1, &y);
    return y;
  }

  const cpu::Isa* isa_ = nullptr;
  Random random_;
};

// In units of the last place of the true value; results too small to be normal are measured as if
// they were not.
double Ulps(float got, double want) {
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(want == 0 ? 1e-40 : want), -126) - 23);
  return std::fabs(got - want) / spacing;
}

TEST_P(CpuMathTest, ExpIsWithinAnUlpOrSo) {
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const float x = random_.Uniform(-104, 88.7f);
    worst = std::max(worst, Ulps(Exp(x), std::exp(double{x})));
  }
  for (int i = 0; i < 100000; ++i) {
    const float x = random_.Uniform(-1, 1) * std::exp(random_.Uniform(-20, 0));
    worst = std::max(worst, Ulps(Exp(x), std::exp(double{x})));
  }
  EXPECT_LE(worst, 1.1);  // 1.03 over a scan of every 37th float
}

TEST_P(CpuMathTest, ExpAtTheEnds) {
  EXPECT_EQ(Exp(0), 1);
  EXPECT_EQ(Exp(-0.0f), 1);
  EXPECT_EQ(Exp(-INFINITY), 0);
  EXPECT_EQ(Exp(-200), 0);
  EXPECT_EQ(Exp(-103), BitsToFloat(1));  // the smallest there is: e^-103 is 1.00 of it
  EXPECT_EQ(Exp(INFINITY), INFINITY);
  EXPECT_EQ(Exp(89), INFINITY);
  EXPECT_LT(Exp(88.72f), INFINITY);
  EXPECT_TRUE(std::isnan(Exp(NAN)));
}

TEST_P(CpuMathTest, SoftplusIsWithinThreeUlps) {
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const float x = random_.Uniform(-85, 40);
    worst = std::max(worst, Ulps(Softplus(x), std::log1p(std::exp(double{x}))));
  }
  EXPECT_LE(worst, 3.0);
  EXPECT_EQ(Softplus(30), 30);
  EXPECT_EQ(Softplus(-200), 0);
  EXPECT_EQ(Softplus(1e30f), 1e30f);
  EXPECT_TRUE(std::isnan(Softplus(NAN)));
}

TEST_P(CpuMathTest, SigmoidAndSiluAreWithinThreeUlps) {
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const float x = random_.Uniform(-85, 40);
    const double sigmoid = 1 / (1 + std::exp(-double{x}));
    worst = std::max({worst, Ulps(Sigmoid(x), sigmoid), Ulps(Silu(x), x * sigmoid)});
  }
  EXPECT_LE(worst, 3.0);
  EXPECT_EQ(Sigmoid(200), 1);
  EXPECT_EQ(Sigmoid(-200), 0);
  EXPECT_EQ(Silu(-200), 0);
}

TEST_P(CpuMathTest, EveryIsaHasTheBitsOfThePlainOne) {
  const cpu::Isa& plain = *cpu::GetIsa(CpuIsa::kGeneric);
  std::vector<float> x;
  for (int i = 0; i < 100003; ++i)
    x.push_back(BitsToFloat(static_cast<uint32_t>(random_.Bits())));  // any float
  for (int i = 0; i < 100000; ++i) x.push_back(random_.Uniform(-110, 95));
  const int64_t n = static_cast<int64_t>(x.size());
  const std::vector<float> zeros(n);
  const auto number = [](std::vector<float> v) {  // which NaN is nobody's promise
    for (float& f : v) f = std::isnan(f) ? 12345.0f : f;
    return v;
  };
  const auto same = [&](auto&& run) {
    std::vector<float> got(n), want(n);
    run(*isa_, got.data());
    run(plain, want.data());
    return SameBits(number(got), number(want));
  };
  EXPECT_TRUE(same([&](const cpu::Isa& isa, float* y) { isa.sigmoid(x.data(), n, y); }));
  EXPECT_TRUE(same(
      [&](const cpu::Isa& isa, float* y) { isa.kda_decay(x.data(), zeros.data(), -0.3f, n, y); }));
  EXPECT_TRUE(same([&](const cpu::Isa& isa, float* y) { isa.swiglu(x.data(), x.data(), n, y); }));
  EXPECT_TRUE(same([&](const cpu::Isa& isa, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = isa.sum_exp(&x[i], 0, 1);
  }));
  EXPECT_TRUE(
      same([&](const cpu::Isa& isa, float* y) {  // fused multiply-adds of values of any size
        const float weights[2] = {0.7f, -1.3f};
        isa.weighted_sum(x.data(), 2, 1, weights, n - 1, false, y);
      }));
}

TEST_P(CpuMathTest, Bf16StoresRoundToNearestEven) {
  std::vector<float> x(1037), weight(1, 1);
  for (float& f : x) f = BitsToFloat(static_cast<uint32_t>(random_.Bits()));
  std::vector<uint16_t> got(x.size());
  isa_->mla_row(x.data(), weight.data(), 0, 0, static_cast<int64_t>(x.size()), true, got.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(got[i], ToBf16(x[i]).bits) << FloatToBits(x[i]);
}

TEST_P(CpuMathTest, DecodesEveryHalfScaleExactly) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {  // every finite one that is not negative
    const uint16_t scale = static_cast<uint16_t>(bits);
    std::vector<int8_t> codes(32, -127);
    std::vector<float> out(32);
    isa_->decode_row(
        {WeightFormat::kQ8, 32, 1, 32, reinterpret_cast<const uint8_t*>(codes.data()), &scale}, 0,
        out.data());
    ASSERT_EQ(out[5], -127 * ToFloat(F16{scale})) << bits;
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, CpuMathTest, ::testing::ValuesIn(kIsas),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace rill::test
