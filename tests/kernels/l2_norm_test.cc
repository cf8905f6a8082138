#include "kernels/ops/l2_norm.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class L2NormTest : public DeviceTest {};

TEST_P(L2NormTest, DividesByTheLengthWithEpsOnTheSum) {
  RILL_NEEDS_OP(l2_norm);
  for (const int64_t T : {1, 2, 7}) {
    for (const int64_t H : {1, 3, 32}) {
      for (const int64_t K : {16, 48, 127, 128}) {
        // The smallest size has a squared length near eps, where eps on the mean would give another
        // result.
        for (const float size : {1e-4f, 1.0f, 50.0f}) {
          const std::vector<float> x = random_.Normal(T * H * K, size);
          std::vector<double> want(x.size());
          for (int64_t row = 0; row < T * H; ++row) {
            double sum = 0;
            for (int64_t d = 0; d < K; ++d) sum += double{x[row * K + d]} * x[row * K + d];
            for (int64_t d = 0; d < K; ++d)
              want[row * K + d] = x[row * K + d] / std::sqrt(sum + 1e-6f);
          }
          L2NormArgs args = {1e-6f, rig().In(x, {T, H, K}), rig().Out({T, H, K})};
          ASSERT_NO_FATAL_FAILURE(Run(&OpTable::l2_norm, args));
          const std::vector<float> apart = rig().Read(args.out);
          EXPECT_TRUE(CloseEach(apart, want, Tolerance(1e-5), 1e-12))
              << T << " x " << H << " x " << K;
          args.out = args.x;
          ASSERT_NO_FATAL_FAILURE(Run(&OpTable::l2_norm, args));
          EXPECT_TRUE(SameBits(rig().Read(args.x), apart)) << "in place";
        }
      }
    }
  }
}

TEST(L2NormCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  const L2NormArgs good = {1e-6f, F32View(memory.data(), 2, 1, 3),
                           F32View(memory.data() + 6, 2, 1, 3)};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "l2_norm.eps: inf", [](L2NormArgs& a) { a.eps = INFINITY; });
  ExpectRefused(good, "l2_norm.x: rank 2, expected 3", [](L2NormArgs& a) { a.x.rank = 2; });
  ExpectRefused(good, "l2_norm.out: shape [2, 1, 4], expected [2, 1, 3]",
                [](L2NormArgs& a) { a.out.dim[2] = 4; });
  ExpectRefused(good, "l2_norm.out: its 24 bytes overlap the 24 bytes of l2_norm.x",
                [&](L2NormArgs& a) { a.out.data = memory.data() + 2; });
}

RILL_FOR_EACH_DEVICE(L2NormTest);

}  // namespace
}  // namespace rill::test
