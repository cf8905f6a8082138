#include "kernels/ops/rms_norm.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

std::vector<double> Expected(const std::vector<float>& x, const std::vector<float>& weight,
                             double eps) {
  const size_t D = weight.size();
  std::vector<double> out(x.size());
  for (size_t begin = 0; begin < x.size(); begin += D) {
    double sum = 0;
    for (size_t d = 0; d < D; ++d) sum += double{x[begin + d]} * x[begin + d];
    const double rms = std::sqrt(sum / static_cast<double>(D) + eps);
    for (size_t d = 0; d < D; ++d) out[begin + d] = x[begin + d] / rms * weight[d];
  }
  return out;
}

class RmsNormTest : public DeviceTest {};

TEST_P(RmsNormTest, DividesByTheRootMeanSquare) {
  RILL_NEEDS_OP(rms_norm);
  for (const int64_t T : {1, 2, 33}) {
    for (const int64_t D : {1, 2, 31, 33, 127, 128, 129, 2304}) {
      for (const float size : {1e-4f, 1.0f, 300.0f}) {
        const std::vector<float> x = random_.Normal(T * D, size),
                                 weight = random_.Floats(D, 0.1f, 2);
        const RmsNormArgs args = {1e-5f, rig().In(x, {T, D}), rig().In(weight, {D}),
                                  rig().Out({T, D})};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::rms_norm, args));
        EXPECT_TRUE(
            CloseEach(rig().Read(args.out), Expected(x, weight, 1e-5f), Tolerance(1e-5), 1e-9))
            << T << " x " << D << " of size " << size;
      }
    }
  }
}

TEST_P(RmsNormTest, WorksInPlaceWithTheSameBits) {
  RILL_NEEDS_OP(rms_norm);
  const int64_t T = 3, D = 257;
  const std::vector<float> x = random_.Normal(T * D), weight = random_.Normal(D);
  RmsNormArgs args = {1e-5f, rig().In(x, {T, D}), rig().In(weight, {D}), rig().Out({T, D})};
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::rms_norm, args));
  const std::vector<float> apart = rig().Read(args.out);
  args.out = args.x;
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::rms_norm, args));
  EXPECT_TRUE(SameBits(rig().Read(args.x), apart));
}

TEST_P(RmsNormTest, ZeroRowsStayZero) {
  RILL_NEEDS_OP(rms_norm);
  const RmsNormArgs args = {1e-5f, rig().In(std::vector<float>(64), {1, 64}),
                            rig().In(random_.Normal(64), {64}), rig().Out({1, 64})};
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::rms_norm, args));
  EXPECT_TRUE(CloseEach(rig().Read(args.out), std::vector<double>(64), 0, 0));
}

TEST(RmsNormCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  const RmsNormArgs good = {1e-5f, F32View(memory.data(), 2, 3), F32View(memory.data() + 6, 3),
                            F32View(memory.data() + 9, 2, 3)};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "rms_norm.eps: 0", [](RmsNormArgs& a) { a.eps = 0; });
  ExpectRefused(good, "rms_norm.eps: nan", [](RmsNormArgs& a) { a.eps = NAN; });
  ExpectRefused(good, "rms_norm.x: rank 3, expected 2", [](RmsNormArgs& a) { a.x.rank = 3; });
  ExpectRefused(good, "rms_norm.weight: shape [4], expected [3]",
                [](RmsNormArgs& a) { a.weight.dim[0] = 4; });
  ExpectRefused(good, "rms_norm.out: shape [1, 3], expected [2, 3]",
                [](RmsNormArgs& a) { a.out.dim[0] = 1; });
  ExpectRefused(good, "rms_norm.out: its 24 bytes overlap the 24 bytes of rms_norm.x",
                [&](RmsNormArgs& a) { a.out.data = memory.data() + 1; });
  ExpectRefused(good, "rms_norm.out: its 24 bytes overlap the 12 bytes of rms_norm.weight",
                [&](RmsNormArgs& a) { a.weight.data = memory.data() + 10; });
}

RILL_FOR_EACH_DEVICE(RmsNormTest);

}  // namespace
}  // namespace rill::test
