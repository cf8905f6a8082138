#include "kernels/ops/sample.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>

#include "kernels/base/philox.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

struct FreeMemory {
  void operator()(void* data) const { std::free(data); }
};

struct Drawn {
  absl::Status status;
  int32_t token = -1;
  float logprob = NAN;
};

class SampleTest : public DeviceTest {
 protected:
  // `args` with these logits; lists and parameters are the caller's.
  Drawn Draw(const std::vector<float>& logits, SampleArgs args) {
    const int64_t vocab = static_cast<int64_t>(logits.size());
    args.logits = rig().In(logits, {vocab});
    return DrawAgain(args);
  }

  Drawn DrawAgain(SampleArgs args) {
    const uint64_t bytes = SampleWorkspaceBytes(args.logits.dim[0]);
    if (bytes > workspace_bytes_) {
      workspace_.reset(std::aligned_alloc(64, bytes));
      workspace_bytes_ = bytes;
    }
    args.workspace = MakeView(workspace_.get(), DType::kU8, bytes);
    Drawn drawn;
    args.token = &drawn.token;
    args.logprob = &drawn.logprob;
    drawn.status = device().ops().sample(device(), args);
    return drawn;
  }

  std::map<int32_t, int64_t> Count(const std::vector<float>& logits, SampleArgs args,
                                   const std::vector<uint64_t>& positions) {
    args.logits = rig().In(logits, {static_cast<int64_t>(logits.size())});
    std::map<int32_t, int64_t> counts;
    for (const uint64_t position : positions) {
      args.position = position;
      const Drawn drawn = DrawAgain(args);
      if (!drawn.status.ok()) {
        ADD_FAILURE() << drawn.status;
        break;
      }
      ++counts[drawn.token];
    }
    return counts;
  }

  // The set of tokens that can be drawn. One number of each n-th part of [0, 1) is tried, so none is
  // missed that has two n-ths, or one at an end.
  std::vector<int32_t> Support(const std::vector<float>& logits, const SampleArgs& args) {
    const int64_t n = Repetitions(2000, 24);
    std::vector<uint64_t> positions(n);
    std::vector<bool> has(n);
    int64_t left = n;
    for (uint64_t position = 0; left > 0; ++position) {
      const auto part = static_cast<int64_t>(double{PhiloxUniform(args.seed, position)} * n);
      if (has[part]) continue;
      has[part] = true, positions[part] = position, --left;
    }
    std::vector<int32_t> tokens;
    for (const auto& [token, count] : Count(logits, args, positions)) tokens.push_back(token);
    return tokens;
  }

 private:
  std::unique_ptr<void, FreeMemory> workspace_;
  uint64_t workspace_bytes_ = 0;
};

SampleArgs AtTemperature(float temperature, uint64_t seed) {
  SampleArgs args;
  args.temperature = temperature;
  args.seed = seed;
  return args;
}

std::vector<float> LogOf(const std::vector<float>& probabilities) {
  std::vector<float> logits;
  for (const float p : probabilities) logits.push_back(std::log(p));
  return logits;
}

double LogSoftmax(const std::vector<float>& logits, int32_t id) {
  double max = -INFINITY, sum = 0;
  for (const float l : logits) max = std::max(max, double{l});
  for (const float l : logits) sum += std::exp(l - max);
  return logits[id] - max - std::log(sum);
}

TEST_P(SampleTest, TemperatureZeroTakesTheLargestAndTheLowestIdOnATie) {
  RILL_NEEDS_OP(sample);
  for (const int64_t vocab : {1, 2, 33, 1000, 163840}) {
    std::vector<float> logits = random_.Normal(vocab, 3);
    const int32_t a = static_cast<int32_t>(random_.Int(0, vocab - 1)),
                  b = static_cast<int32_t>(random_.Int(0, vocab - 1));
    logits[a] = logits[b] = 40;
    const Drawn drawn = Draw(logits, {});
    ASSERT_TRUE(drawn.status.ok()) << drawn.status;
    EXPECT_EQ(drawn.token, std::min(a, b)) << vocab;
    EXPECT_NEAR(drawn.logprob, LogSoftmax(logits, drawn.token), 1e-5) << vocab;
  }
}

TEST_P(SampleTest, FrequenciesFollowTheSoftmax) {
  RILL_NEEDS_OP(sample);
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    const std::vector<float> logits = random_.Normal(12, 2);
    std::vector<uint64_t> positions(Repetitions(20000, 20));
    std::iota(positions.begin(), positions.end(), 0);
    const double n = static_cast<double>(positions.size());
    std::map<int32_t, int64_t> counts =
        Count(logits, AtTemperature(temperature, random_.Bits()), positions);
    double sum = 0, chi_squared = 0;
    std::vector<double> p;
    for (const float l : logits) sum += p.emplace_back(std::exp(l / temperature));
    for (size_t i = 0; i < p.size(); ++i) {
      const double expected = p[i] / sum * n;
      if (expected < 5) continue;  // too rare for the statistic
      const double off = static_cast<double>(counts[static_cast<int32_t>(i)]) - expected;
      chi_squared += off * off / expected;
    }
    EXPECT_LT(chi_squared, 45) << "11 degrees of freedom: once in 200,000 runs; temperature "
                               << temperature;
  }
}

TEST_P(SampleTest, DrawIsThePhiloxNumberOnTheDescendingCumulativeSum) {
  RILL_NEEDS_OP(sample);
  const std::vector<float> p = {0.1f, 0.4f, 0.2f, 0.3f};  // descending: 1, 3, 2, 0
  SampleArgs args = AtTemperature(1, random_.Bits());
  for (uint64_t position = 0; position < static_cast<uint64_t>(Repetitions(500, 20)); ++position) {
    args.position = position * 0x1234567890ull;
    const float u = PhiloxUniform(args.seed, args.position);
    const auto decides = [&](double edge) { return std::fabs(u - edge) < 1e-5; };
    if (decides(0.4) || decides(0.7) || decides(0.9)) continue;  // rounding would
    EXPECT_EQ(Draw(LogOf(p), args).token, u < 0.4   ? 1
                                          : u < 0.7 ? 3
                                          : u < 0.9 ? 2
                                                    : 0)
        << "u = " << u;
  }
}

TEST_P(SampleTest, TopKKeepsTheLargestAndLowerIdsOnATie) {
  RILL_NEEDS_OP(sample);
  SampleArgs args = AtTemperature(1, random_.Bits());
  args.top_k = 3;
  EXPECT_EQ(Support({1, 2, 2, 0, 2, 2}, args), (std::vector<int32_t>{1, 2, 4}));
  args.top_k = 1;
  EXPECT_EQ(Support({1, 2, 2}, args), (std::vector<int32_t>{1}));
  args.top_k = 100;
  EXPECT_EQ(Support({1, 1, 1}, args), (std::vector<int32_t>{0, 1, 2}));
}

TEST_P(SampleTest, TopPKeepsTheShortestPrefixThatReachesIt) {
  RILL_NEEDS_OP(sample);
  const std::vector<float> logits = LogOf({0.05f, 0.5f, 0.25f, 0.2f});
  SampleArgs args = AtTemperature(1, random_.Bits());
  args.top_p = 0.74f;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1, 2}));
  args.top_p = 0.76f;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1, 2, 3}));
  args.top_p = 1e-6f;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1})) << "at least one";
  args.top_p = 1;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST_P(SampleTest, MinPDropsWhatIsFarBelowTheLargest) {
  RILL_NEEDS_OP(sample);
  const std::vector<float> logits = LogOf({0.05f, 0.5f, 0.25f, 0.2f});
  SampleArgs args = AtTemperature(1, random_.Bits());
  args.min_p = 0.45f;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1, 2}));
  args.min_p = 0.35f;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1, 2, 3}));
  args.min_p = 1;
  EXPECT_EQ(Support(logits, args), (std::vector<int32_t>{1}));
}

TEST_P(SampleTest, FiltersWorkOneAfterTheOther) {
  RILL_NEEDS_OP(sample);
  // Top-k leaves 0.5, 0.25, 0.2; of those 0.52 is more than 0.5 / 0.95, so one token is enough for
  // top-p.
  SampleArgs args = AtTemperature(1, random_.Bits());
  args.top_k = 3;
  args.top_p = 0.52f;
  EXPECT_EQ(Support(LogOf({0.05f, 0.5f, 0.25f, 0.2f}), args), (std::vector<int32_t>{1}));
  args.top_k = 0;
  EXPECT_EQ(Support(LogOf({0.05f, 0.5f, 0.25f, 0.2f}), args), (std::vector<int32_t>{1, 2}));
}

TEST_P(SampleTest, BiasMovesAndForbids) {
  RILL_NEEDS_OP(sample);
  const TokenBias up[] = {{2, 5.0f}, {2, 1.0f}};
  SampleArgs args;
  args.bias = up;
  EXPECT_EQ(Draw({5, 4, 0, 1}, args).token, 2);
  const TokenBias forbidden[] = {{0, -INFINITY}, {3, -INFINITY}};
  args = AtTemperature(3, random_.Bits());
  args.bias = forbidden;
  EXPECT_EQ(Support({9, 1, 1, INFINITY, 1}, args), (std::vector<int32_t>{1, 2, 4}));
}

TEST_P(SampleTest, PenaltiesPushSeenTokensDown) {
  RILL_NEEDS_OP(sample);
  const TokenCount window[] = {{0, 2}, {2, 1}};
  SampleArgs args;
  args.window = window;
  args.repeat_penalty = 2;  // 4 -> 2 and -1 -> -2
  EXPECT_EQ(Draw({4, 3, -1}, args).token, 1);
  EXPECT_EQ(Draw({-3, -5, -2}, args).token, 2) << "negative logits grow more negative: -6, -5, -4";
  args.repeat_penalty = 1;
  args.frequency_penalty = 0.6f;  // 4 -> 2.8
  EXPECT_EQ(Draw({4, 3, 0}, args).token, 1);
  EXPECT_EQ(Draw({4.3f, 3, 0}, args).token, 0);
  args.frequency_penalty = 0;
  args.presence_penalty = 1.1f;
  EXPECT_EQ(Draw({4, 3, 0}, args).token, 1);
  EXPECT_EQ(Draw({4.2f, 3, 0}, args).token, 0);
}

TEST_P(SampleTest, ReportsTheModelsOwnProbabilities) {
  RILL_NEEDS_OP(sample);
  const std::vector<float> logits = random_.Normal(500, 3);
  const TokenBias bias[] = {{17, 100.0f}};
  int32_t ids[5];
  float logprobs[5];
  SampleArgs args;
  args.bias = bias;
  args.top_ids = ids;
  args.top_logprobs = logprobs;
  const Drawn drawn = Draw(logits, args);
  ASSERT_TRUE(drawn.status.ok()) << drawn.status;
  EXPECT_EQ(drawn.token, 17);
  EXPECT_NEAR(drawn.logprob, LogSoftmax(logits, 17), 1e-4) << "the bias must not show";
  std::vector<int32_t> order(500);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ids[i], order[i]);
    EXPECT_NEAR(logprobs[i], LogSoftmax(logits, order[i]), 1e-4);
  }
}

TEST_P(SampleTest, SameSeedAndPositionDrawTheSameWhateverWasDrawnBefore) {
  RILL_NEEDS_OP(sample);
  const std::vector<float> logits(1000);
  SampleArgs args = AtTemperature(1, random_.Bits());
  args.logits = rig().In(logits, {1000});
  const int n = static_cast<int>(Repetitions(50, 6));
  std::vector<int32_t> forward, backward;
  for (int i = 0; i < n; ++i) {
    args.position = i;
    forward.push_back(DrawAgain(args).token);
  }
  for (int i = n - 1; i >= 0; --i) {
    args.position = i;
    backward.insert(backward.begin(), DrawAgain(args).token);
  }
  EXPECT_EQ(forward, backward);
  args.seed ^= 1;
  args.position = 0;
  int same = 0;
  for (int i = 0; i < n; ++i) {
    args.position = i;
    same += DrawAgain(args).token == forward[i];
  }
  EXPECT_LT(same, 5) << "another seed is another stream";
}

TEST_P(SampleTest, RefusesNanAndNothingLeft) {
  RILL_NEEDS_OP(sample);
  std::vector<float> logits(10);
  logits[3] = logits[7] = NAN;
  Drawn drawn = Draw(logits, {});
  EXPECT_EQ(drawn.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(drawn.status.message().find("2 of 10"), absl::string_view::npos) << drawn.status;
  drawn = Draw(std::vector<float>(4, -INFINITY), {});
  EXPECT_EQ(drawn.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(drawn.status.message().find("4 of 4"), absl::string_view::npos) << drawn.status;
  const TokenBias forbidden[] = {{0, -INFINITY}, {1, -INFINITY}};
  SampleArgs args;
  args.bias = forbidden;
  EXPECT_EQ(Draw({1, 2}, args).status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(SampleTest, SurvivesInfiniteLogitsAndTinyTemperatures) {
  RILL_NEEDS_OP(sample);
  SampleArgs args = AtTemperature(1e-38f, random_.Bits());
  EXPECT_EQ(Support({1, 3, 2}, args), (std::vector<int32_t>{1}));
  args.temperature = 1;
  const Drawn drawn = Draw({1, INFINITY, 2}, args);
  ASSERT_TRUE(drawn.status.ok()) << drawn.status;
  EXPECT_EQ(drawn.token, 1);
  EXPECT_EQ(drawn.logprob, 0);
  args.min_p = 0;
  EXPECT_EQ(Support({0, -INFINITY, 0}, args), (std::vector<int32_t>{0, 2}));
}

// Where in [0, 1) a token lies: the cumulative probability before and after it, among those the
// filters keep, in double.
std::pair<double, double> Interval(const std::vector<float>& logits, const SampleArgs& args,
                                   int32_t token) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (args.top_k > 0) order.resize(args.top_k);
  const auto weight = [&](int32_t id) {
    return std::exp((double{logits[id]} - logits[order[0]]) / args.temperature);
  };
  double sum = 0, kept = 0, before = 0, after = 0;
  for (const int32_t id : order) sum += weight(id);
  for (const int32_t id : order) {
    if (kept >= args.top_p * sum || weight(id) < args.min_p) break;
    if (id == token) before = kept;
    kept += weight(id);
    if (id == token) after = kept;
  }
  return {before / kept, after / kept};
}

// At the model's vocabulary a device may look at a few tokens only; the draw must not notice.
// Float32 sums of that many terms are good to 1e-4.
TEST_P(SampleTest, DrawsFromAWholeVocabularyWhereTheNumberPoints) {
  RILL_NEEDS_OP(sample);
  for (const float spread : {0.0f, 1.0f, 4.0f}) {
    const std::vector<float> logits = random_.Normal(163840, spread);
    for (const auto& [top_k, top_p, min_p] :
         {std::tuple{0, 1.0f, 0.0f}, {0, 0.9f, 0.0f}, {0, 1.0f, 0.01f}, {200, 0.95f, 0.001f}}) {
      SampleArgs args = AtTemperature(0.8f, random_.Bits());
      args.top_k = top_k;
      args.top_p = top_p;
      args.min_p = min_p;
      const uint64_t n = static_cast<uint64_t>(Repetitions(3, 1));
      for (args.position = 0; args.position < n; ++args.position) {
        const Drawn drawn = Draw(logits, args);
        ASSERT_TRUE(drawn.status.ok()) << drawn.status;
        const auto [before, after] = Interval(logits, args, drawn.token);
        const double u = PhiloxUniform(args.seed, args.position);
        EXPECT_GT(u, before - 1e-4)
            << "token " << drawn.token << ", spread " << spread << ", top_p " << top_p;
        EXPECT_LT(u, after + 1e-4)
            << "token " << drawn.token << ", spread " << spread << ", top_p " << top_p;
        EXPECT_NEAR(drawn.logprob, LogSoftmax(logits, drawn.token), 1e-3);
      }
    }
  }
}

TEST_P(SampleTest, AllocatesNothing) {
  RILL_NEEDS_OP(sample);
  if (!is_host()) GTEST_SKIP() << "host devices only";
  SampleArgs args = AtTemperature(0.7f, 1);
  args.logits = rig().In(random_.Normal(5000), {5000});
  ASSERT_TRUE(DrawAgain(args).status.ok());
  args.top_k = 40;
  args.top_p = 0.9f;
  const uint64_t before = AllocationCount();
  const Drawn drawn = DrawAgain(args);
  EXPECT_EQ(AllocationCount(), before);
  EXPECT_TRUE(drawn.status.ok());
}

TEST(SampleCheck, NamesTheFieldThatDoesNotFit) {
  alignas(64) static char workspace[4096];
  static float logits[100];
  static int32_t token, ids[3];
  static float logprob;
  SampleArgs good;
  good.logits = F32View(logits, 100);
  good.workspace = MakeView(workspace, DType::kU8, 4096);
  good.token = &token;
  good.logprob = &logprob;
  using Args = SampleArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "sample.logits: rank 2, expected 1", [](Args& a) { a.logits.rank = 2; });
  ExpectRefused(good, "sample.temperature: -1", [](Args& a) { a.temperature = -1; });
  ExpectRefused(good, "sample.temperature: nan", [](Args& a) { a.temperature = NAN; });
  ExpectRefused(good, "sample.top_k: -1", [](Args& a) { a.top_k = -1; });
  ExpectRefused(good, "sample.top_p: 0", [](Args& a) { a.top_p = 0; });
  ExpectRefused(good, "sample.top_p: 1.5, expected 0 to 1", [](Args& a) { a.top_p = 1.5f; });
  ExpectRefused(good, "sample.min_p: nan", [](Args& a) { a.min_p = NAN; });
  ExpectRefused(good, "sample.repeat_penalty: 0", [](Args& a) { a.repeat_penalty = 0; });
  ExpectRefused(good, "sample.frequency_penalty: inf",
                [](Args& a) { a.frequency_penalty = INFINITY; });
  ExpectRefused(good, "sample.presence_penalty: nan", [](Args& a) { a.presence_penalty = NAN; });
  const TokenBias outside[] = {{100, 1}}, endless[] = {{5, INFINITY}};
  ExpectRefused(good, "sample.bias.id: 100, expected at most 99",
                [&](Args& a) { a.bias = outside; });
  ExpectRefused(good, "sample.bias.value: inf for token 5", [&](Args& a) { a.bias = endless; });
  const TokenCount below[] = {{-1, 1}}, never[] = {{1, 0}};
  ExpectRefused(good, "sample.window.id: -1", [&](Args& a) { a.window = below; });
  ExpectRefused(good, "sample.window.count: 0", [&](Args& a) { a.window = never; });
  ExpectRefused(good, "sample.workspace: 64 bytes, expected at least",
                [](Args& a) { a.workspace.dim[0] = 64; });
  ExpectRefused(good, "sample.token: absent", [](Args& a) { a.token = nullptr; });
  ExpectRefused(good, "sample.logprob: absent", [](Args& a) { a.logprob = nullptr; });
  ExpectRefused(good, "sample.top_logprobs: 0 places, expected 3",
                [&](Args& a) { a.top_ids = ids; });
  std::vector<int32_t> many(101);
  std::vector<float> many_logprobs(101);
  ExpectRefused(good, "sample.top_ids size: 101, expected at most 100", [&](Args& a) {
    a.top_ids = absl::MakeSpan(many);
    a.top_logprobs = absl::MakeSpan(many_logprobs);
  });
}

RILL_FOR_EACH_DEVICE(SampleTest);

}  // namespace
}  // namespace rill::test
