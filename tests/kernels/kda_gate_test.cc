#include "kernels/ops/kda_gate.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class KdaGateTest : public DeviceTest {};

struct Inputs {
  int64_t T, H, K;
  std::vector<float> f, a_log, dt_bias, b;
};

double Softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

std::vector<double> ExpectedG(const Inputs& in) {
  std::vector<double> g(in.f.size());
  for (int64_t i = 0; i < static_cast<int64_t>(g.size()); ++i) {
    const int64_t h = i / in.K % in.H;
    g[i] = -std::exp(double{in.a_log[h]}) *
           Softplus(double{in.f[i] + in.dt_bias[h * in.K + i % in.K]});
  }
  return g;
}

std::vector<double> ExpectedBeta(const Inputs& in) {
  std::vector<double> beta(in.b.size());
  for (size_t i = 0; i < beta.size(); ++i) beta[i] = 1 / (1 + std::exp(-double{in.b[i]}));
  return beta;
}

KdaGateArgs Place(Rig& rig, const Inputs& in) {
  return {rig.In(in.f, {in.T, in.H, in.K}), rig.In(in.a_log, {in.H}),
          rig.In(in.dt_bias, {in.H, in.K}), rig.In(in.b, {in.T, in.H}),
          rig.Out({in.T, in.H, in.K}),      rig.Out({in.T, in.H})};
}

TEST_P(KdaGateTest, MatchesSoftplusAndSigmoid) {
  RILL_NEEDS_OP(kda_gate);
  for (const int64_t T : {1, 2, 31}) {
    for (const int64_t H : {1, 3, 32}) {
      for (const int64_t K : {16, 48, 128}) {
        const Inputs in = {T,
                           H,
                           K,
                           random_.Normal(T * H * K, 8),
                           random_.Floats(H, -2, 3),
                           random_.Normal(H * K, 2),
                           random_.Normal(T * H, 4)};
        KdaGateArgs args = Place(rig(), in);
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_gate, args));
        const std::vector<float> g = rig().Read(args.g), beta = rig().Read(args.beta);
        EXPECT_TRUE(CloseEach(g, ExpectedG(in), Tolerance(1e-5), 1e-8))
            << T << " x " << H << " x " << K;
        EXPECT_TRUE(CloseEach(beta, ExpectedBeta(in), Tolerance(1e-5), 1e-12)) << T << " x " << H;
        args.g = args.f;
        args.beta = args.b;
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_gate, args));
        EXPECT_TRUE(SameBits(rig().Read(args.f), g)) << "in place";
        EXPECT_TRUE(SameBits(rig().Read(args.b), beta)) << "in place";
      }
    }
  }
}

TEST_P(KdaGateTest, HasNoLowerBoundAndNoNan) {
  RILL_NEEDS_OP(kda_gate);
  std::vector<float> f = {-1e4f, -100,  -30, -17, -5, 0,   5,    19.9f,
                          20,    20.1f, 50,  88,  89, 100, 1e4f, 1e6f};
  const Inputs in = {1, 1, 16, f, {2.77f}, std::vector<float>(16), {-1e4f}};
  const KdaGateArgs args = Place(rig(), in);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_gate, args));
  EXPECT_TRUE(CloseEach(rig().Read(args.g), ExpectedG(in), Tolerance(1e-5), 1e-8));
  EXPECT_TRUE(CloseEach(rig().Read(args.beta), {0.0}, 0, 1e-30));
}

TEST(KdaGateCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(256);
  float* m = memory.data();
  const KdaGateArgs good = {F32View(m, 2, 3, 4),   F32View(m + 24, 3),       F32View(m + 28, 3, 4),
                            F32View(m + 40, 2, 3), F32View(m + 48, 2, 3, 4), F32View(m + 72, 2, 3)};
  using Args = KdaGateArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "kda_gate.f: dimension 2 is -1", [](Args& a) { a.f.dim[2] = -1; });
  ExpectRefused(good, "kda_gate.a_log: shape [4], expected [3]",
                [](Args& a) { a.a_log.dim[0] = 4; });
  ExpectRefused(good, "kda_gate.dt_bias: shape [3, 5], expected [3, 4]",
                [](Args& a) { a.dt_bias.dim[1] = 5; });
  ExpectRefused(good, "kda_gate.b: absent", [](Args& a) { a.b.data = nullptr; });
  ExpectRefused(good, "kda_gate.g: shape [1, 3, 4], expected [2, 3, 4]",
                [](Args& a) { a.g.dim[0] = 1; });
  ExpectRefused(good, "kda_gate.beta: type bf16, expected f32",
                [](Args& a) { a.beta.dtype = DType::kBf16; });
  ExpectRefused(good, "kda_gate.g: its 96 bytes overlap the 96 bytes of kda_gate.f",
                [&](Args& a) { a.g.data = m + 1; });
  ExpectRefused(good, "kda_gate.beta: its 24 bytes overlap the 24 bytes of kda_gate.b",
                [&](Args& a) { a.beta.data = m + 41; });
  ExpectRefused(good, "kda_gate.g: its 96 bytes overlap the 24 bytes of kda_gate.beta",
                [&](Args& a) { a.beta.data = m + 50; });
}

RILL_FOR_EACH_DEVICE(KdaGateTest);

}  // namespace
}  // namespace rill::test
