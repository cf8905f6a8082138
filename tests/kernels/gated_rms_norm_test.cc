#include "kernels/ops/gated_rms_norm.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class GatedRmsNormTest : public DeviceTest {};

TEST_P(GatedRmsNormTest, NormalisesEachHeadAndGatesIt) {
  RILL_NEEDS_OP(gated_rms_norm);
  for (const int64_t T : {1, 2, 7}) {
    for (const int64_t H : {1, 3, 32}) {
      for (const int64_t V : {16, 48, 127, 128}) {
        const std::vector<float> x = random_.Normal(T * H * V), gate = random_.Normal(T * H * V, 3);
        const std::vector<float> weight = random_.Floats(V, 0.1f, 2);
        std::vector<double> want(x.size());
        for (int64_t row = 0; row < T * H; ++row) {
          double sum = 0;
          for (int64_t d = 0; d < V; ++d) sum += double{x[row * V + d]} * x[row * V + d];
          const double rms = std::sqrt(sum / static_cast<double>(V) + 1e-5f);
          for (int64_t d = row * V; d < (row + 1) * V; ++d) {
            want[d] = x[d] / rms * weight[d - row * V] / (1 + std::exp(-double{gate[d]}));
          }
        }
        GatedRmsNormArgs args = {1e-5f, rig().In(x, {T, H, V}), rig().In(gate, {T, H, V}),
                                 rig().In(weight, {V}), rig().Out({T, H, V})};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::gated_rms_norm, args));
        const std::vector<float> apart = rig().Read(args.out);
        EXPECT_TRUE(CloseEach(apart, want, Tolerance(1e-5), 1e-9)) << T << " x " << H << " x " << V;
        args.out = args.x;
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::gated_rms_norm, args));
        EXPECT_TRUE(SameBits(rig().Read(args.x), apart)) << "in place";
      }
    }
  }
}

TEST_P(GatedRmsNormTest, ExtremeGatesCloseAndOpenWithoutNan) {
  RILL_NEEDS_OP(gated_rms_norm);
  const std::vector<float> ones(16, 1.0f);
  for (const float logit : {-1e4f, -200.0f, 200.0f, 1e4f}) {
    const GatedRmsNormArgs args = {1e-5f, rig().In(ones, {1, 1, 16}),
                                   rig().In(std::vector<float>(16, logit), {1, 1, 16}),
                                   rig().In(ones, {16}), rig().Out({1, 1, 16})};
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::gated_rms_norm, args));
    const std::vector<double> want(16, logit < 0 ? 0 : 1 / std::sqrt(1 + 1e-5));
    EXPECT_TRUE(CloseEach(rig().Read(args.out), want, Tolerance(1e-5), 1e-30))
        << "gate logit " << logit;
  }
}

TEST(GatedRmsNormCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  float* m = memory.data();
  const GatedRmsNormArgs good = {1e-5f, F32View(m, 2, 1, 3), F32View(m + 6, 2, 1, 3),
                                 F32View(m + 12, 3), F32View(m + 15, 2, 1, 3)};
  using Args = GatedRmsNormArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "gated_rms_norm.eps: -1", [](Args& a) { a.eps = -1; });
  ExpectRefused(good, "gated_rms_norm.x: absent", [](Args& a) { a.x.data = nullptr; });
  ExpectRefused(good, "gated_rms_norm.gate: shape [2, 2, 3], expected [2, 1, 3]",
                [](Args& a) { a.gate.dim[1] = 2; });
  ExpectRefused(good, "gated_rms_norm.weight: shape [2], expected [3]",
                [](Args& a) { a.weight.dim[0] = 2; });
  ExpectRefused(good, "gated_rms_norm.out: rank 2, expected 3", [](Args& a) { a.out.rank = 2; });
  ExpectRefused(good, "gated_rms_norm.out: its 24 bytes overlap the 24 bytes of gated_rms_norm.x",
                [&](Args& a) { a.out.data = m + 3; });
  ExpectRefused(good,
                "gated_rms_norm.out: its 24 bytes overlap the 24 bytes of gated_rms_norm.gate",
                [&](Args& a) { a.out.data = m + 6; });
  ExpectRefused(good,
                "gated_rms_norm.out: its 24 bytes overlap the 12 bytes of gated_rms_norm.weight",
                [&](Args& a) { a.weight.data = m + 16; });
}

RILL_FOR_EACH_DEVICE(GatedRmsNormTest);

}  // namespace
}  // namespace rill::test
