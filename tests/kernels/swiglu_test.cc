#include "kernels/ops/swiglu.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class SwigluTest : public DeviceTest {};

std::vector<double> Expected(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<double> want(gate.size());
  for (size_t i = 0; i < gate.size(); ++i)
    want[i] = gate[i] / (1 + std::exp(-double{gate[i]})) * up[i];
  return want;
}

TEST_P(SwigluTest, GatesAndWorksInPlaceOfEitherInput) {
  RILL_NEEDS_OP(swiglu);
  for (const int64_t T : {1, 2, 7}) {
    for (const int64_t N : {1, 2, 31, 33, 127, 129, 1024}) {
      const std::vector<float> gate = random_.Normal(T * N, 4), up = random_.Normal(T * N);
      SwigluArgs args = {rig().In(gate, {T, N}), rig().In(up, {T, N}), rig().Out({T, N})};
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::swiglu, args));
      const std::vector<float> apart = rig().Read(args.out);
      EXPECT_TRUE(CloseEach(apart, Expected(gate, up), Tolerance(1e-5), 1e-12)) << T << " x " << N;
      args.out = args.gate;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::swiglu, args));
      EXPECT_TRUE(SameBits(rig().Read(args.out), apart)) << "in place of gate";
      args.gate = rig().In(gate, {T, N});
      args.out = args.up;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::swiglu, args));
      EXPECT_TRUE(SameBits(rig().Read(args.out), apart)) << "in place of up";
    }
  }
}

TEST_P(SwigluTest, ExtremeGatesGiveNoNan) {
  RILL_NEEDS_OP(swiglu);
  const std::vector<float> gate = {-1e30f, -1e4f, -100, -88, -0.0f, 0, 88, 100, 1e4f, 1e30f};
  const int64_t N = static_cast<int64_t>(gate.size());
  const SwigluArgs args = {rig().In(gate, {1, N}), rig().In(std::vector<float>(N, 1.0f), {1, N}),
                           rig().Out({1, N})};
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::swiglu, args));
  EXPECT_TRUE(CloseEach(rig().Read(args.out), Expected(gate, std::vector<float>(N, 1.0f)),
                        Tolerance(1e-5), 1e-30));
}

TEST(SwigluCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  float* m = memory.data();
  const SwigluArgs good = {F32View(m, 2, 3), F32View(m + 6, 2, 3), F32View(m + 12, 2, 3)};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "swiglu.gate: absent", [](SwigluArgs& a) { a.gate.data = nullptr; });
  ExpectRefused(good, "swiglu.up: shape [2, 2], expected [2, 3]",
                [](SwigluArgs& a) { a.up.dim[1] = 2; });
  ExpectRefused(good, "swiglu.out: type f16, expected f32",
                [](SwigluArgs& a) { a.out.dtype = DType::kF16; });
  ExpectRefused(good, "swiglu.out: its 24 bytes overlap the 24 bytes of swiglu.gate",
                [&](SwigluArgs& a) { a.out.data = m + 1; });
  ExpectRefused(good, "swiglu.out: its 24 bytes overlap the 24 bytes of swiglu.up",
                [&](SwigluArgs& a) { a.out.data = m + 7; });
}

RILL_FOR_EACH_DEVICE(SwigluTest);

}  // namespace
}  // namespace rill::test
