#include "kernels/ops/matmul.h"

#include "tests/kernels/projection_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class MatmulTest : public DeviceTest {};

TEST_P(MatmulTest, MatchesTheDotProductsOfEveryFormat) {
  RILL_NEEDS_OP(matmul);
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t T : {1, 2, 7, 31, 33, 64, 129}) {
      for (const auto& [N, K] :
           {std::pair<int64_t, int64_t>{1, 1}, {31, 33}, {64, 128}, {67, 509}, {130, 256}}) {
        const ProjectionCase c = MakeProjectionCase(random_, T, K, {N}, format);
        const std::vector<Projection> projections = PlaceProjections(rig(), c);
        const MatmulArgs args = {rig().In(c.x, {T, K}), projections, false};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matmul, args));
        EXPECT_TRUE(CloseToSum(rig().Read(projections[0].out), c, 0, Tolerance(1e-5)))
            << Name(format) << " " << T << " rows, " << N << " x " << K;
      }
    }
  }
}

// Prompt and tokens one by one are the same numbers: the ground of every resume test above this
// layer.
TEST_P(MatmulTest, HostDevicesGiveEachRowTheBitsOfMatvec) {
  RILL_NEEDS_OP(matmul);
  RILL_NEEDS_OP(matvec);
  if (!is_host()) GTEST_SKIP() << "only host devices promise this";
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t T : {1, 2, 3, 4, 5, 8, 13, 32, 33, 70}) {
      for (const int64_t K : {1, 31, 33, 129, 512}) {
        for (const bool accumulate : {false, true}) {
          rig().Clear();
          const ProjectionCase c = MakeProjectionCase(random_, T, K, {3, 70}, format);
          const std::vector<Projection> projections = PlaceProjections(rig(), c);
          const TensorView x = rig().In(c.x, {T, K});
          std::vector<Projection> single = projections;
          for (size_t i = 0; i < 2; ++i) {
            const std::vector<float> before = random_.Normal(T * c.rows[i]);
            rig().Write(projections[i].out, before);
            single[i].out = rig().In(before, {T, c.rows[i]});
          }
          ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matmul, MatmulArgs{x, projections, accumulate}));
          for (int64_t t = 0; t < T; ++t) {
            const Projection row[] = {{single[0].weight, single[0].out.Rows(t, 1)},
                                      {single[1].weight, single[1].out.Rows(t, 1)}};
            ASSERT_NO_FATAL_FAILURE(
                Run(&OpTable::matvec, MatvecArgs{x.Rows(t, 1), row, accumulate}));
          }
          for (size_t i = 0; i < 2; ++i) {
            EXPECT_TRUE(SameBits(rig().Read(projections[i].out), rig().Read(single[i].out)))
                << Name(format) << " T = " << T << ", K = " << K << ", matrix " << i;
          }
        }
      }
    }
  }
}

TEST_P(MatmulTest, AccumulateAddsToTheOutputs) {
  RILL_NEEDS_OP(matmul);
  const int64_t T = 9, K = 100, N = 33;
  ProjectionCase c = MakeProjectionCase(random_, T, K, {N}, WeightFormat::kBf16);
  const std::vector<Projection> projections = PlaceProjections(rig(), c);
  MatmulArgs args = {rig().In(c.x, {T, K}), projections, false};
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matmul, args));
  const std::vector<float> before = random_.Normal(T * N);
  std::vector<float> want = rig().Read(projections[0].out);
  for (size_t i = 0; i < want.size(); ++i) want[i] += before[i];
  rig().Write(projections[0].out, before);
  args.accumulate = true;
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::matmul, args));
  EXPECT_TRUE(Close(rig().Read(projections[0].out), want, Tolerance(1e-6)));
}

TEST(MatmulCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(256);
  float* m = memory.data();
  const Projection projections[] = {
      {BindMatrix(WeightFormat::kF32, 5, 4, m + 16), F32View(m + 40, 3, 5)}};
  const MatmulArgs good = {F32View(m, 3, 4), projections, false};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "matmul.x: absent", [](MatmulArgs& a) { a.x.data = nullptr; });
  ExpectRefused(good, "matmul.projections: 0, expected at least 1",
                [](MatmulArgs& a) { a.projections = {}; });
  ExpectRefused(good, "matmul.projections.weight: 4 columns, expected 3",
                [](MatmulArgs& a) { a.x.dim[1] = 3; });
  ExpectRefused(good, "matmul.projections.out: shape [3, 5], expected [2, 5]",
                [](MatmulArgs& a) { a.x.dim[0] = 2; });
}

RILL_FOR_EACH_DEVICE(MatmulTest);

}  // namespace
}  // namespace rill::test
