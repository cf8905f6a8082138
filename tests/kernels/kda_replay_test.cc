#include "kernels/ops/kda_replay.h"

#include "tests/kernels/kda_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class KdaReplayTest : public DeviceTest {};

// A state saved before the last n tokens and replayed through them is the state after them, bit for
// bit.
TEST_P(KdaReplayTest, BringsASavedStateToTheBitsOfTheSteps) {
  RILL_NEEDS_OP(kda_replay);
  RILL_NEEDS_OP(kda_step);
  const int64_t R = 8;
  for (const int64_t K : {16, 48, 128}) {
    for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{5}, R}) {
      for (const int64_t start : {0, 6, 1000001}) {
        const KdaCase c = MakeKdaCase(random_, 13, 3, K, 32, Gates::kMixed);
        const KdaTensors x = Place(rig(), c);
        const KdaRing ring = MakeRing(rig(), c, R);
        std::vector<float> saved = c.state;
        for (int64_t t = 0; t < c.T; ++t) {
          KdaStepArgs step = StepArgs(c, x, t);
          step.ring = ring;
          step.position = start + t;
          ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_step, step));
          if (t + 1 == c.T - n) saved = rig().Read(x.state);
        }
        const KdaReplayArgs args = {ring, start + c.T - n, n, rig().In(saved, {c.H, c.K, c.V})};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_replay, args));
        EXPECT_TRUE(SameBits(rig().Read(args.state), rig().Read(x.state)))
            << n << " tokens, K = " << K << ", from " << start;
      }
    }
  }
}

TEST_P(KdaReplayTest, AppliesOnlyTheTokensAskedFor) {
  RILL_NEEDS_OP(kda_replay);
  RILL_NEEDS_OP(kda_step);
  const KdaCase c = MakeKdaCase(random_, 6, 1, 16, 16);
  const KdaTensors x = Place(rig(), c);
  const KdaRing ring = MakeRing(rig(), c, 8);
  for (int64_t t = 0; t < c.T; ++t) {
    KdaStepArgs step = StepArgs(c, x, t);
    step.ring = ring;
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_step, step));
  }
  const KdaReplayArgs args = {ring, 0, 4, rig().In(c.state, {c.H, c.K, c.V})};
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_replay, args));
  EXPECT_TRUE(Close(rig().Read(args.state), Recurrence(c).states[3], Tolerance(1e-5)));
}

TEST(KdaReplayCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const KdaCase c = MakeKdaCase(random, 1, 2, 16, 32);
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  const KdaReplayArgs good = {MakeRing(rig, c, 3), 7, 3, rig.In(c.state, {2, 16, 32})};
  using Args = KdaReplayArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "kda_replay.state: K is 17", [](Args& a) { a.state.dim[1] = 17; });
  ExpectRefused(good, "kda_replay.ring.k: absent", [](Args& a) { a.ring = {}; });
  ExpectRefused(good, "kda_replay.ring.u: absent", [](Args& a) { a.ring.u = {}; });
  ExpectRefused(good, "kda_replay.ring.g: shape [3, 1, 16], expected [3, 2, 16]",
                [](Args& a) { a.ring.g.dim[1] = 1; });
  ExpectRefused(good, "kda_replay.n: 4, expected at most 3", [](Args& a) { a.n = 4; });
  ExpectRefused(good, "kda_replay.n: -1, expected at least 0", [](Args& a) { a.n = -1; });
  ExpectRefused(good, "kda_replay.position: -1, expected at least 0",
                [](Args& a) { a.position = -1; });
  ExpectRefused(good, "kda_replay.state: its 4096 bytes overlap the 384 bytes of kda_replay.ring.k",
                [](Args& a) { a.ring.k.data = a.state.data; });
}

RILL_FOR_EACH_DEVICE(KdaReplayTest);

}  // namespace
}  // namespace rill::test
