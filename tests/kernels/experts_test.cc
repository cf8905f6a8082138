#include "kernels/ops/experts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

struct ExpertsCase {
  int64_t T, hidden, width;
  int n_experts, top_k;
  WeightFormat format;
  std::vector<float> x, weights, before;
  std::vector<int32_t> ids;
  std::vector<std::vector<float>> matrices;  // gate, up, down of each expert
};

ExpertsCase MakeCase(Random& random, int64_t T, int64_t hidden, int64_t width, int n_experts,
                     int top_k, WeightFormat format) {
  ExpertsCase c = {T, hidden, width, n_experts, top_k, format, {}, {}, {}, {}, {}};
  c.x = random.Normal(T * hidden);
  c.weights = random.Floats(T * top_k, 0, 1);
  c.before = random.Normal(T * hidden);
  std::vector<int32_t> all(n_experts);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t t = 0; t < T; ++t) {
    for (int j = 0; j < top_k; ++j) std::swap(all[j], all[random.Int(j, n_experts - 1)]);
    c.ids.insert(c.ids.end(), all.begin(), all.begin() + top_k);
  }
  for (int e = 0; e < n_experts; ++e) {
    const float wide = 1 / std::sqrt(static_cast<float>(hidden)),
                down = 1 / std::sqrt(static_cast<float>(width));
    c.matrices.push_back(random.Normal(width * hidden, wide));
    c.matrices.push_back(random.Normal(width * hidden, wide));
    c.matrices.push_back(random.Normal(hidden * width, down));
  }
  return c;
}

std::vector<double> Multiply(const std::vector<float>& w, int64_t rows,
                             const std::vector<double>& x) {
  const int64_t cols = static_cast<int64_t>(x.size());
  std::vector<double> y(rows);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) y[r] += w[r * cols + i] * x[i];
  }
  return y;
}

std::vector<double> Expected(const ExpertsCase& c) {
  std::vector<std::vector<float>> rounded;
  for (size_t m = 0; m < c.matrices.size(); ++m) {
    const bool down = m % 3 == 2;
    rounded.push_back(
        Rounded(c.format, c.matrices[m], down ? c.hidden : c.width, down ? c.width : c.hidden));
  }
  std::vector<double> out(c.T * c.hidden);
  for (int64_t t = 0; t < c.T; ++t) {
    const std::vector<double> x(c.x.begin() + t * c.hidden, c.x.begin() + (t + 1) * c.hidden);
    for (int j = 0; j < c.top_k; ++j) {
      const int32_t e = c.ids[t * c.top_k + j];
      std::vector<double> gate = Multiply(rounded[3 * e], c.width, x);
      const std::vector<double> up = Multiply(rounded[3 * e + 1], c.width, x);
      for (int64_t n = 0; n < c.width; ++n) gate[n] = gate[n] / (1 + std::exp(-gate[n])) * up[n];
      const std::vector<double> y = Multiply(rounded[3 * e + 2], c.hidden, gate);
      for (int64_t d = 0; d < c.hidden; ++d)
        out[t * c.hidden + d] += c.weights[t * c.top_k + j] * y[d];
    }
  }
  return out;
}

ExpertsArgs PlaceExperts(Rig& rig, const ExpertsCase& c) {
  return {rig.In(c.x, {c.T, c.hidden}),
          rig.In(c.ids, {c.T, c.top_k}),
          rig.In(c.weights, {c.T, c.top_k}),
          rig.Experts(c.format, c.matrices, c.hidden, c.width),
          false,
          rig.Out({c.T, c.hidden}),
          rig.Workspace(ExpertsWorkspaceBytes(c.T, c.top_k, c.n_experts, c.hidden, c.width))};
}

class ExpertsTest : public DeviceTest {};

TEST_P(ExpertsTest, MatchesTheWeightedSumOfEveryFormat) {
  RILL_NEEDS_OP(experts);
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t T : {1, 2, 5, 33, 64}) {
      for (const auto& [hidden, width] :
           {std::pair<int64_t, int64_t>{32, 32}, {33, 31}, {129, 65}, {1, 1}}) {
        rig().Clear();
        const ExpertsCase c = MakeCase(random_, T, hidden, width, 9, 3, format);
        const ExpertsArgs args = PlaceExperts(rig(), c);
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::experts, args));
        EXPECT_TRUE(Close(rig().Read(args.out), Expected(c), Tolerance(2e-5), 0.1))
            << Name(format) << " T = " << T << ", " << hidden << " x " << width;
      }
    }
  }
}

TEST_P(ExpertsTest, AccumulateAddsToOut) {
  RILL_NEEDS_OP(experts);
  const ExpertsCase c = MakeCase(random_, 6, 64, 48, 5, 5, WeightFormat::kQ4);
  ExpertsArgs args = PlaceExperts(rig(), c);
  args.accumulate = true;
  rig().Write(args.out, c.before);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::experts, args));
  std::vector<double> want = Expected(c);
  for (size_t i = 0; i < want.size(); ++i) want[i] += c.before[i];
  EXPECT_TRUE(Close(rig().Read(args.out), want, Tolerance(2e-5), 0.1));
}

// A token's answer does not depend on its company: prefill and decode agree, and so do ragged
// chunks.
TEST_P(ExpertsTest, HostDevicesGiveATokenTheSameBitsInAnyCall) {
  RILL_NEEDS_OP(experts);
  if (!is_host()) GTEST_SKIP() << "only host devices promise this";
  for (const WeightFormat format : kAllFormats) {
    for (const bool accumulate : {false, true}) {
      const ExpertsCase c = MakeCase(random_, 37, 96, 70, 6, 4, format);
      ExpertsArgs whole = PlaceExperts(rig(), c), parts = whole;
      whole.accumulate = parts.accumulate = accumulate;
      parts.out = rig().In(c.before, {c.T, c.hidden});
      rig().Write(whole.out, c.before);
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::experts, whole));
      for (int64_t t = 0; t < c.T;) {
        const int64_t n = std::min(c.T - t, random_.Int(1, 5));
        ExpertsArgs part = parts;
        part.x = parts.x.Rows(t, n);
        part.ids = parts.ids.Rows(t, n);
        part.weights = parts.weights.Rows(t, n);
        part.out = parts.out.Rows(t, n);
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::experts, part));
        t += n;
      }
      EXPECT_TRUE(SameBits(rig().Read(parts.out), rig().Read(whole.out))) << Name(format);
    }
  }
}

TEST_P(ExpertsTest, ManyTokensMayVisitOneExpertAndManyExpertsNoToken) {
  RILL_NEEDS_OP(experts);
  ExpertsCase c = MakeCase(random_, 40, 32, 16, 64, 1, WeightFormat::kBf16);
  for (int32_t& id : c.ids) id = 63;
  const ExpertsArgs args = PlaceExperts(rig(), c);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::experts, args));
  EXPECT_TRUE(Close(rig().Read(args.out), Expected(c), Tolerance(2e-5), 0.1));
}

TEST(ExpertsCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  const ExpertsArgs good = PlaceExperts(rig, MakeCase(random, 3, 32, 16, 4, 2, WeightFormat::kF32));
  using Args = ExpertsArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "experts.ids: type f32, expected i32",
                [](Args& a) { a.ids.dtype = DType::kF32; });
  ExpectRefused(good, "experts.ids per token: 2, expected at most 1",
                [](Args& a) { a.experts.n_experts = 1; });
  ExpectRefused(good, "experts.experts: record table absent",
                [](Args& a) { a.experts.record = nullptr; });
  ExpectRefused(good, "experts.experts: unknown format 4",
                [](Args& a) { a.experts.format = static_cast<WeightFormat>(4); });
  ExpectRefused(good, "experts.experts.n_experts: 0", [](Args& a) { a.experts.n_experts = 0; });
  ExpectRefused(good, "experts.experts.width: 0", [](Args& a) { a.experts.width = 0; });
  ExpectRefused(good, "experts.x: shape [3, 32], expected [3, 31]",
                [](Args& a) { a.experts.hidden = 31; });
  ExpectRefused(good, "experts.weights: shape [3, 1], expected [3, 2]",
                [](Args& a) { a.weights.dim[1] = 1; });
  ExpectRefused(good, "experts.out: absent", [](Args& a) { a.out.data = nullptr; });
  ExpectRefused(good, "experts.out: its 384 bytes overlap the 384 bytes of experts.x",
                [](Args& a) { a.out.data = a.x.data; });
  ExpectRefused(good, "experts.workspace: 100 bytes, expected at least",
                [](Args& a) { a.workspace.dim[0] = 100; });
}

RILL_FOR_EACH_DEVICE(ExpertsTest);

}  // namespace
}  // namespace rill::test
