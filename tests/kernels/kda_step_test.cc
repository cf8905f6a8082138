#include "kernels/ops/kda_step.h"

#include "tests/kernels/kda_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class KdaStepTest : public DeviceTest {
 protected:
  void RunSteps(const KdaCase& c, const KdaTensors& x, const KdaRing& ring = {}) {
    for (int64_t t = 0; t < c.T; ++t) {
      KdaStepArgs args = StepArgs(c, x, t);
      args.ring = ring;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_step, args));
    }
  }
};

TEST_P(KdaStepTest, FollowsTheRecurrence) {
  RILL_NEEDS_OP(kda_step);
  const int64_t shapes[][3] = {{1, 16, 16},   {3, 16, 48},   {2, 80, 32},
                               {4, 128, 128}, {1, 256, 256}, {32, 32, 16}};
  for (const auto& [H, K, V] : shapes) {
    for (const Gates gates : {Gates::kMild, Gates::kStrong, Gates::kMixed}) {
      const KdaCase c = MakeKdaCase(random_, 9, H, K, V, gates);
      const KdaTensors x = Place(rig(), c);
      ASSERT_NO_FATAL_FAILURE(RunSteps(c, x));
      const KdaAnswer want = Recurrence(c);
      EXPECT_TRUE(Close(rig().Read(x.out), want.out, Tolerance(1e-5)))
          << H << " x " << K << " x " << V;
      EXPECT_TRUE(Close(rig().Read(x.state), want.state, Tolerance(1e-5)))
          << H << " x " << K << " x " << V;
    }
  }
}

// Two of model.md's traps: the prediction reads the decayed state, the output reads the updated
// one.
TEST_P(KdaStepTest, DecaysFirstAndReadsLast) {
  RILL_NEEDS_OP(kda_step);
  KdaCase c = MakeKdaCase(random_, 1, 1, 16, 16);
  c.scale = 1;
  std::fill(c.state.begin(), c.state.end(), 0.0f);
  std::fill(c.k.begin(), c.k.end(), 0.0f);
  std::fill(c.g.begin(), c.g.end(), std::log(0.5f));
  c.state[0] = 4;  // S[0, 0]: 2 after decay
  c.k[0] = 1;
  c.q = c.k;
  c.beta = {0.5f};
  c.v[0] = 10;  // u = 0.5 (10 - 2) = 4, S[0, 0] = 2 + 4
  const KdaTensors x = Place(rig(), c);
  ASSERT_NO_FATAL_FAILURE(RunSteps(c, x));
  EXPECT_NEAR(rig().Read(x.out)[0], 6.0f, Tolerance(1e-5) * 6);
  EXPECT_NEAR(rig().Read(x.state)[0], 6.0f, Tolerance(1e-5) * 6);
}

TEST_P(KdaStepTest, OutMayBeVItself) {
  RILL_NEEDS_OP(kda_step);
  const KdaCase c = MakeKdaCase(random_, 1, 3, 48, 32);
  const KdaTensors apart = Place(rig(), c);
  ASSERT_NO_FATAL_FAILURE(RunSteps(c, apart));
  KdaTensors same = Place(rig(), c);
  same.out = same.v;
  ASSERT_NO_FATAL_FAILURE(RunSteps(c, same));
  EXPECT_TRUE(SameBits(rig().Read(same.out), rig().Read(apart.out)));
  EXPECT_TRUE(SameBits(rig().Read(same.state), rig().Read(apart.state)));
}

TEST_P(KdaStepTest, RingRecordsKeyDeltaAndDecayAndChangesNothingElse) {
  RILL_NEEDS_OP(kda_step);
  const int64_t R = 4;
  const KdaCase c = MakeKdaCase(random_, 11, 2, 32, 48);
  const KdaTensors plain = Place(rig(), c), recorded = Place(rig(), c);
  const KdaRing ring = MakeRing(rig(), c, R);
  ASSERT_NO_FATAL_FAILURE(RunSteps(c, plain));
  ASSERT_NO_FATAL_FAILURE(RunSteps(c, recorded, ring));
  EXPECT_TRUE(SameBits(rig().Read(recorded.out), rig().Read(plain.out)));
  EXPECT_TRUE(SameBits(rig().Read(recorded.state), rig().Read(plain.state)));
  const KdaAnswer want = Recurrence(c);
  for (int64_t t = c.T - R; t < c.T; ++t) {
    const int64_t hk = c.H * c.K, hv = c.H * c.V;
    const auto slot = [&](const TensorView& view) { return rig().Read(view.Rows(t % R, 1)); };
    EXPECT_TRUE(SameBits(slot(ring.k), absl::MakeConstSpan(c.k).subspan(t * hk, hk)))
        << "token " << t;
    EXPECT_TRUE(SameBits(slot(ring.g), absl::MakeConstSpan(c.g).subspan(t * hk, hk)))
        << "token " << t;
    EXPECT_TRUE(
        Close(slot(ring.u), absl::MakeConstSpan(want.u).subspan(t * hv, hv), Tolerance(1e-5)))
        << "token " << t;
  }
}

TEST(KdaStepCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const KdaCase c = MakeKdaCase(random, 1, 2, 16, 32);
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  KdaStepArgs good = StepArgs(c, Place(rig, c), 0);
  good.ring = MakeRing(rig, c, 3);
  using Args = KdaStepArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "kda_step.scale: nan", [](Args& a) { a.scale = NAN; });
  ExpectRefused(good, "kda_step.state: absent", [](Args& a) { a.state.data = nullptr; });
  ExpectRefused(good, "kda_step.state: K is 24, expected a multiple of 16",
                [](Args& a) { a.state.dim[1] = 24; });
  ExpectRefused(good, "kda_step.state: V is 272, expected a multiple of 16, at most 256",
                [](Args& a) { a.state.dim[2] = 272; });
  ExpectRefused(good, "kda_step.q: shape [1, 2, 15], expected [1, 2, 16]",
                [](Args& a) { a.q.dim[2] = 15; });
  ExpectRefused(good, "kda_step.k: shape [1, 1, 16], expected [1, 2, 16]",
                [](Args& a) { a.k.dim[1] = 1; });
  ExpectRefused(good, "kda_step.v: type bf16, expected f32",
                [](Args& a) { a.v.dtype = DType::kBf16; });
  ExpectRefused(good, "kda_step.g: absent", [](Args& a) { a.g.data = nullptr; });
  ExpectRefused(good, "kda_step.beta: shape [1, 3], expected [1, 2]",
                [](Args& a) { a.beta.dim[1] = 3; });
  ExpectRefused(good, "kda_step.out: shape [1, 2, 16], expected [1, 2, 32]",
                [](Args& a) { a.out.dim[2] = 16; });
  ExpectRefused(good, "kda_step.state: its 4096 bytes overlap the 128 bytes of kda_step.k",
                [](Args& a) { a.k.data = a.state.data; });
  ExpectRefused(good, "kda_step.out: its 256 bytes overlap the 128 bytes of kda_step.q",
                [](Args& a) { a.q.data = a.out.data; });
  ExpectRefused(good, "kda_step.out: its 256 bytes overlap the 256 bytes of kda_step.v",
                [](Args& a) { a.out.data = a.v.f32() + 4; });
  ExpectRefused(good, "kda_step.ring.k: absent", [](Args& a) { a.ring.k = {}; });
  ExpectRefused(good, "kda_step.ring.u: shape [2, 2, 32], expected [3, 2, 32]",
                [](Args& a) { a.ring.u.dim[0] = 2; });
  ExpectRefused(good, "kda_step.ring.g: absent", [](Args& a) { a.ring.g = {}; });
  ExpectRefused(good, "kda_step.state: its 4096 bytes overlap the 768 bytes of kda_step.ring.u",
                [](Args& a) { a.ring.u.data = a.state.data; });
  ExpectRefused(good, "kda_step.position: -1, expected at least 0",
                [](Args& a) { a.position = -1; });
}

TEST(KdaStepCheck, TakesOneTokenOnly) {
  Random random;
  const KdaCase c = MakeKdaCase(random, 2, 1, 16, 16);
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  const KdaTensors x = Place(rig, c);
  EXPECT_EQ(Complaint(KdaStepArgs{c.scale, x.q, x.k, x.v, x.g, x.beta, x.state, x.out, {}, 0}),
            "kda_step.q tokens: 2, expected at most 1");
}

RILL_FOR_EACH_DEVICE(KdaStepTest);

}  // namespace
}  // namespace rill::test
