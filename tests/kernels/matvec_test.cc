#include "kernels/ops/matvec.h"

#include "tests/kernels/projection_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class MatvecTest : public DeviceTest {};

TEST_P(MatvecTest, MatchesTheDotProductsOfEveryFormat) {
  RILL_NEEDS_OP(matvec);
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t K : {1, 2, 31, 32, 33, 127, 128, 129, 509, 2304}) {
      for (const int64_t N : {1, 2, 5, 31, 64, 127}) {
        const ProjectionCase c = MakeProjectionCase(random_, 1, K, {N}, format);
        const std::vector<Projection> projections = PlaceProjections(rig(), c);
        const MatvecArgs args = {rig().In(c.x, {1, K}), projections, false};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, args));
        EXPECT_TRUE(CloseToSum(rig().Read(projections[0].out), c, 0, Tolerance(1e-5)))
            << Name(format) << " " << N << " x " << K;
      }
    }
  }
}

TEST_P(MatvecTest, SeveralMatricesOfDifferentFormatsShareACall) {
  RILL_NEEDS_OP(matvec);
  const int64_t K = 129;
  const std::vector<float> x = random_.Normal(K);
  const TensorView x_view = rig().In(x, {1, K});
  std::vector<Projection> together;
  std::vector<std::vector<float>> alone;
  for (int i = 0; i < 16; ++i) {
    const int64_t N = random_.Int(1, 70);
    const MatrixView weight = rig().Matrix(kAllFormats[i % 4], random_.Normal(N * K), N, K);
    together.push_back({weight, rig().Out({1, N})});
    const Projection one[] = {{weight, rig().Out({1, N})}};
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, MatvecArgs{x_view, one, false}));
    alone.push_back(rig().Read(one[0].out));
  }
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, MatvecArgs{x_view, together, false}));
  for (size_t i = 0; i < together.size(); ++i)
    EXPECT_TRUE(SameBits(rig().Read(together[i].out), alone[i])) << i;
}

// More rows than one pass of every block of a large GPU takes.
TEST_P(MatvecTest, MatchesTheDotProductsOfVeryManyRows) {
  RILL_NEEDS_OP(matvec);
  const int64_t K = 33, N = 300'007;
  const ProjectionCase c = MakeProjectionCase(random_, 1, K, {N}, WeightFormat::kQ4);
  const std::vector<Projection> projections = PlaceProjections(rig(), c);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, MatvecArgs{rig().In(c.x, {1, K}), projections, false}));
  EXPECT_TRUE(CloseToSum(rig().Read(projections[0].out), c, 0, Tolerance(1e-5)));
}

TEST_P(MatvecTest, AccumulateAddsTheFinishedSum) {
  RILL_NEEDS_OP(matvec);
  for (const WeightFormat format : kAllFormats) {
    const int64_t K = 300, N = 67;
    const ProjectionCase c = MakeProjectionCase(random_, 1, K, {N}, format);
    const std::vector<Projection> projections = PlaceProjections(rig(), c);
    MatvecArgs args = {rig().In(c.x, {1, K}), projections, false};
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, args));
    std::vector<float> want = rig().Read(projections[0].out);
    const std::vector<float> before = random_.Normal(N);
    for (int64_t n = 0; n < N; ++n) want[n] += before[n];
    rig().Write(projections[0].out, before);
    args.accumulate = true;
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matvec, args));
    const std::vector<float> got = rig().Read(projections[0].out);
    if (is_host()) {
      EXPECT_TRUE(SameBits(got, want)) << Name(format);
    } else {
      EXPECT_TRUE(Close(got, want, Tolerance(0))) << Name(format);
    }
  }
}

TEST(MatvecCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(256);
  float* m = memory.data();
  std::vector<Projection> projections = {
      {BindMatrix(WeightFormat::kF32, 5, 4, m + 16), F32View(m + 40, 1, 5)},
      {BindMatrix(WeightFormat::kBf16, 3, 4, m + 16), F32View(m + 48, 1, 3)}};
  const MatvecArgs good = {F32View(m, 1, 4), projections, false};
  EXPECT_EQ(Complaint(good), "");
  const auto spoiled = [&](auto spoil) {
    std::vector<Projection> copy = projections;
    spoil(copy);
    return Complaint(MatvecArgs{good.x, copy, false});
  };
  using List = std::vector<Projection>;
  EXPECT_EQ(spoiled([](List& p) { p.clear(); }), "matvec.projections: 0, expected at least 1");
  EXPECT_EQ(spoiled([](List& p) { p.resize(17, p[0]); }),
            "matvec.projections: 17, expected at most 16");
  EXPECT_EQ(spoiled([](List& p) { p[1].weight.cols = 5; }),
            "matvec.projections.weight: 5 columns, expected 4");
  EXPECT_EQ(spoiled([](List& p) { p[1].out.dim[1] = 4; }),
            "matvec.projections.out: shape [1, 4], expected [1, 3]");
  EXPECT_EQ(spoiled([&](List& p) { p[1].out.data = m + 2; }),
            "matvec.projections.out: its 12 bytes overlap the 16 bytes of matvec.x");
  EXPECT_EQ(spoiled([&](List& p) { p[1].out.data = m + 42; }),
            "matvec.projections.out: its 12 bytes overlap the 20 bytes of matvec.projections.out");
  ExpectRefused(good, "matvec.x: rank 1, expected 2", [](MatvecArgs& a) { a.x.rank = 1; });
  projections = {{BindMatrix(WeightFormat::kF32, 5, 4, m + 16), F32View(m + 40, 2, 5)}};
  EXPECT_EQ(Complaint(MatvecArgs{F32View(m, 2, 4), projections, false}),
            "matvec.x rows: 2, expected at most 1");
}

RILL_FOR_EACH_DEVICE(MatvecTest);

}  // namespace
}  // namespace rill::test
