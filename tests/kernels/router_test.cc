#include "kernels/ops/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

struct RouterCase {
  RouterActivation activation = RouterActivation::kSigmoid;
  int top_k = 8, n_groups = 1, topk_groups = 1;
  bool renormalize = true;
  float scaling = 2.446f;
  int64_t T = 1, E = 256, D = 64;
  std::vector<float> x, weight, bias;
};

RouterCase MakeCase(Random& random, RouterCase c) {
  c.x = random.Normal(c.T * c.D);
  c.weight = random.Normal(c.E * c.D, 1 / std::sqrt(static_cast<float>(c.D)));
  c.bias = random.Normal(c.E, 0.3f);
  return c;
}

struct Placed {
  RouterArgs args;
  std::vector<float> scores, weights;
  std::vector<int32_t> ids;
};

RouterArgs PlaceRouter(Rig& rig, const RouterCase& c, WeightFormat format = WeightFormat::kF32) {
  RouterArgs a = {c.activation, c.top_k, c.n_groups, c.topk_groups, c.renormalize, c.scaling};
  a.x = rig.In(c.x, {c.T, c.D});
  a.weight = rig.Matrix(format, c.weight, c.E, c.D);
  if (!c.bias.empty()) a.bias = rig.In(c.bias, {c.E});
  a.scores = rig.Out({c.T, c.E});
  a.ids = rig.Out({c.T, c.top_k}, DType::kI32);
  a.weights = rig.Out({c.T, c.top_k});
  return a;
}

std::vector<double> ExpectedScores(const RouterCase& c, const std::vector<float>& weight) {
  std::vector<double> scores(c.T * c.E);
  for (int64_t t = 0; t < c.T; ++t) {
    double* s = scores.data() + t * c.E;
    for (int64_t e = 0; e < c.E; ++e) {
      for (int64_t d = 0; d < c.D; ++d) s[e] += double{weight[e * c.D + d]} * c.x[t * c.D + d];
    }
    if (c.activation == RouterActivation::kSigmoid) {
      for (int64_t e = 0; e < c.E; ++e) s[e] = 1 / (1 + std::exp(-s[e]));
    } else {
      double sum = 0;
      for (int64_t e = 0; e < c.E; ++e) sum += s[e] = std::exp(s[e]);
      for (int64_t e = 0; e < c.E; ++e) s[e] /= sum;
    }
  }
  return scores;
}

// The choice the scores lead to, by sorting: what the device must say given the float32 scores it
// reports.
std::vector<int32_t> Choose(const RouterCase& c, const float* s) {
  std::vector<float> choice(s, s + c.E);
  for (int64_t e = 0; e < c.E && !c.bias.empty(); ++e) choice[e] += c.bias[e];
  const int64_t size = c.E / c.n_groups;
  std::vector<float> group_score;
  for (int64_t g = 0; g < c.n_groups; ++g) {
    std::vector<float> members(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    group_score.push_back(size == 1 ? members[0] : members[0] + members[1]);
  }
  const auto best_first = [](std::vector<int32_t>& ids, const std::vector<float>& by) {
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return by[a] > by[b]; });
  };
  std::vector<int32_t> groups(c.n_groups), ids;
  std::iota(groups.begin(), groups.end(), 0);
  best_first(groups, group_score);
  groups.resize(c.topk_groups);
  for (int32_t e = 0; e < c.E; ++e) {
    if (std::count(groups.begin(), groups.end(), e / size) > 0) ids.push_back(e);
  }
  best_first(ids, choice);
  ids.resize(c.top_k);
  return ids;
}

class RouterTest : public DeviceTest {
 protected:
  Placed Route(const RouterCase& c, WeightFormat format = WeightFormat::kF32) {
    Placed p;
    p.args = PlaceRouter(rig(), c, format);
    Run(&OpTable::router, p.args);
    p.scores = rig().Read(p.args.scores);
    p.weights = rig().Read(p.args.weights);
    p.ids = rig().ReadInts(p.args.ids);
    return p;
  }

  void ExpectRouted(const RouterCase& c, WeightFormat format = WeightFormat::kF32) {
    const Placed got = Route(c, format);
    ASSERT_FALSE(HasFatalFailure());
    const std::vector<float> weight = Rounded(format, c.weight, c.E, c.D);
    EXPECT_TRUE(CloseEach(got.scores, ExpectedScores(c, weight), 2e-5, 1e-7));
    for (int64_t t = 0; t < c.T; ++t) {
      const float* s = got.scores.data() + t * c.E;
      const std::vector<int32_t> ids(got.ids.begin() + t * c.top_k,
                                     got.ids.begin() + (t + 1) * c.top_k);
      EXPECT_EQ(ids, Choose(c, s)) << "token " << t;
      double sum = 0;
      for (const int32_t id : ids) sum += s[id];
      std::vector<double> want;
      for (const int32_t id : ids) {
        want.push_back((c.renormalize && c.top_k > 1 ? s[id] / (sum + 1e-20) : s[id]) * c.scaling);
      }
      EXPECT_TRUE(CloseEach(absl::MakeConstSpan(got.weights).subspan(t * c.top_k, c.top_k), want,
                            1e-5, 1e-12));
    }
  }
};

TEST_P(RouterTest, ScoresChoosesAndWeighs) {
  RILL_NEEDS_OP(router);
  for (const RouterActivation activation :
       {RouterActivation::kSigmoid, RouterActivation::kSoftmax}) {
    for (const bool renormalize : {true, false}) {
      for (const auto& [E, top_k] : {std::pair<int64_t, int>{1, 1}, {5, 2}, {31, 31}, {256, 8}}) {
        RouterCase c;
        c.activation = activation;
        c.renormalize = renormalize;
        c.E = E;
        c.top_k = top_k;
        c.T = random_.Int(1, 7);
        c.D = random_.Int(1, 140);
        ExpectRouted(MakeCase(random_, c));
        ExpectRouted(MakeCase(random_, c), WeightFormat::kBf16);
      }
    }
  }
}

TEST_P(RouterTest, GroupsLimitTheChoice) {
  RILL_NEEDS_OP(router);
  for (const auto& [n_groups, topk_groups, top_k] :
       {std::tuple{8, 3, 6}, {8, 8, 8}, {4, 1, 8}, {32, 5, 5}}) {
    RouterCase c;
    c.E = 32;
    c.T = 9;
    c.n_groups = n_groups;
    c.topk_groups = topk_groups;
    c.top_k = top_k;
    ExpectRouted(MakeCase(random_, c));
  }
}

TEST_P(RouterTest, WorksWithoutBias) {
  RILL_NEEDS_OP(router);
  RouterCase c = MakeCase(random_, {});
  c.bias.clear();
  ExpectRouted(c);
}

TEST_P(RouterTest, BiasChoosesButDoesNotWeigh) {
  RILL_NEEDS_OP(router);
  RouterCase c;
  c.E = 4;
  c.top_k = 2;
  c.D = 1;
  c.renormalize = false;
  c.scaling = 1;
  c.x = {1};
  c.weight = {0, 1, 2, 3};
  c.bias = {10, 5, 0, 0};
  const Placed got = Route(c);
  EXPECT_EQ(got.ids, (std::vector<int32_t>{0, 1}));
  EXPECT_NEAR(got.weights[0], 0.5, 1e-6);
  EXPECT_NEAR(got.weights[1], 1 / (1 + std::exp(-1.0)), 1e-6);
}

TEST_P(RouterTest, TiesGoToTheLowerIndex) {
  RILL_NEEDS_OP(router);
  RouterCase c;
  c.E = 100;
  c.x = std::vector<float>(c.D, 1);
  c.weight = std::vector<float>(c.E * c.D, 0.01f);
  c.bias = std::vector<float>(c.E);
  c.bias[70] = c.bias[33] = 1;
  EXPECT_EQ(Route(c).ids, (std::vector<int32_t>{33, 70, 0, 1, 2, 3, 4, 5}));
}

// A NaN must not turn into an address: the ids index expert records.
TEST_P(RouterTest, IdsStayDistinctAndInRangeForAnyInput) {
  RILL_NEEDS_OP(router);
  for (const float poison : {NAN, INFINITY, -INFINITY, 3e38f}) {
    for (const int n_groups : {1, 8}) {
      RouterCase c;
      c.T = 3;
      c.n_groups = n_groups;
      c.topk_groups = n_groups == 1 ? 1 : 3;
      c = MakeCase(random_, c);
      for (size_t i = 0; i < c.x.size(); i += 7) c.x[i] = poison;
      c.bias[3] = poison;
      const Placed got = Route(c);
      for (int64_t t = 0; t < c.T; ++t) {
        std::vector<int32_t> ids(got.ids.begin() + t * c.top_k,
                                 got.ids.begin() + (t + 1) * c.top_k);
        std::sort(ids.begin(), ids.end());
        EXPECT_GE(ids.front(), 0) << poison;
        EXPECT_LT(ids.back(), c.E) << poison;
        EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << poison;
      }
    }
  }
}

TEST(RouterCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  RouterCase c;
  c.E = 12;
  c.top_k = 2;
  c.n_groups = 3;
  c.topk_groups = 2;
  const RouterArgs good = PlaceRouter(rig, MakeCase(random, c));
  using Args = RouterArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "router.x: absent", [](Args& a) { a.x.data = nullptr; });
  ExpectRefused(good, "router.weight: 63 columns, expected 64",
                [](Args& a) { a.weight.cols = 63; });
  ExpectRefused(good, "router.weight: quantized, expected f32 or bf16", [](Args& a) {
    a.weight.format = WeightFormat::kQ8;
    a.weight.scales = a.weight.values;
  });
  ExpectRefused(good, "router.activation: unknown value 7",
                [](Args& a) { a.activation = static_cast<RouterActivation>(7); });
  ExpectRefused(good, "router.n_groups: 0", [](Args& a) { a.n_groups = 0; });
  ExpectRefused(good, "router.n_groups: 5 does not divide 12", [](Args& a) { a.n_groups = 5; });
  ExpectRefused(good, "router.topk_groups: 4, expected at most 3",
                [](Args& a) { a.topk_groups = 4; });
  ExpectRefused(good, "router.top_k: 9, expected at most 8", [](Args& a) { a.top_k = 9; });
  ExpectRefused(good, "router.scaling: nan", [](Args& a) { a.scaling = NAN; });
  ExpectRefused(good, "router.bias: shape [11], expected [12]",
                [](Args& a) { a.bias.dim[0] = 11; });
  ExpectRefused(good, "router.scores: shape [2, 12], expected [1, 12]",
                [](Args& a) { a.scores.dim[0] = 2; });
  ExpectRefused(good, "router.ids: type f32, expected i32",
                [](Args& a) { a.ids.dtype = DType::kF32; });
  ExpectRefused(good, "router.weights: shape [1, 3], expected [1, 2]",
                [](Args& a) { a.weights.dim[1] = 3; });
  ExpectRefused(good, "router.weights: its 8 bytes overlap the 8 bytes of router.ids",
                [](Args& a) { a.weights.data = a.ids.data; });
}

RILL_FOR_EACH_DEVICE(RouterTest);

}  // namespace
}  // namespace rill::test
