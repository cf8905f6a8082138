#include "sdk/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/sdk/session_case.h"

namespace rill::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename Spoil>
void ExpectRefused(const std::string& field, Spoil spoil) {
  SamplingParams params;
  spoil(params);
  const absl::Status status = Validate(params, 97);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(std::string(status.message()).substr(0, field.size()), field) << status;
}

TEST(SamplingTest, NamesTheFieldThatIsOutOfRange) {
  for (const float bad : {kNan, -1.0f, INFINITY}) {
    ExpectRefused("temperature", [&](SamplingParams& p) { p.temperature = bad; });
    ExpectRefused("top_p", [&](SamplingParams& p) { p.top_p = bad; });
    ExpectRefused("min_p", [&](SamplingParams& p) { p.min_p = bad; });
    ExpectRefused("repeat_penalty", [&](SamplingParams& p) { p.repeat_penalty = bad; });
  }
  for (const float bad : {kNan, -INFINITY, INFINITY}) {
    ExpectRefused("frequency_penalty", [&](SamplingParams& p) { p.frequency_penalty = bad; });
    ExpectRefused("presence_penalty", [&](SamplingParams& p) { p.presence_penalty = bad; });
  }
  ExpectRefused("top_k", [](SamplingParams& p) { p.top_k = -1; });
  ExpectRefused("top_p", [](SamplingParams& p) { p.top_p = 0; });
  ExpectRefused("top_p", [](SamplingParams& p) { p.top_p = 1.01f; });
  ExpectRefused("min_p", [](SamplingParams& p) { p.min_p = 1.01f; });
  ExpectRefused("repeat_penalty", [](SamplingParams& p) { p.repeat_penalty = 0; });
  ExpectRefused("penalty_window", [](SamplingParams& p) { p.penalty_window = 4097; });
}

TEST(SamplingTest, NamesTheBiasThatIsWrong) {
  ExpectRefused("bias: token -1", [](SamplingParams& p) { p.bias = {{-1, 0}}; });
  ExpectRefused("bias: token 97", [](SamplingParams& p) { p.bias = {{97, 0}}; });
  ExpectRefused("bias.value", [](SamplingParams& p) { p.bias = {{1, kNan}}; });
  ExpectRefused("bias.value", [](SamplingParams& p) { p.bias = {{1, INFINITY}}; });
  ExpectRefused("bias: token 5 is listed twice", [](SamplingParams& p) {
    p.bias = {{5, 1}, {3, 1}, {5, 2}};
  });
  ExpectRefused("bias: 1025 tokens", [](SamplingParams& p) { p.bias.resize(1025); });
}

TEST(SamplingTest, AcceptsTheLimits) {
  SamplingParams params;
  params.temperature = 0;
  params.top_k = INT32_MAX;
  params.min_p = 1;
  params.penalty_window = 4096;
  for (int32_t i = 0; i < 1024; ++i) params.bias.push_back({1023 - i, -INFINITY});
  EXPECT_TRUE(Validate(params, 1024).ok()) << Validate(params, 1024);
  EXPECT_TRUE(Validate(SamplingParams{}, 1).ok());
}

// The penalties as kernels/ops/sample.h states them, on the last `window` tokens.
int32_t PenalizedBest(Row l, const std::vector<int32_t>& ids, const SamplingParams& p) {
  std::vector<int> counts(l.size());
  const size_t n = std::min<size_t>(p.penalty_window, ids.size());
  for (size_t i = ids.size() - n; i < ids.size(); ++i) ++counts[static_cast<size_t>(ids[i])];
  for (size_t i = 0; i < l.size(); ++i) {
    if (counts[i] == 0) continue;
    l[i] = l[i] > 0 ? l[i] / p.repeat_penalty : l[i] * p.repeat_penalty;
    l[i] -= p.frequency_penalty * static_cast<float>(counts[i]) + p.presence_penalty;
  }
  return static_cast<int32_t>(std::max_element(l.begin(), l.end()) - l.begin());
}

TEST(SamplingTest, PenaltiesLookAtTheLastTokensOnly) {
  Random random;
  const auto session = MakeSession(MakeModel("cpu", 3));
  const std::vector<int32_t> few = RandomIds(random, 60, 12);
  int n_differ = 0;
  for (size_t at = 0; at < few.size(); ++at) {
    ASSERT_TRUE(session->Step(few[at]).ok());
    const std::vector<int32_t> ids(few.begin(), few.begin() + static_cast<int64_t>(at) + 1);
    SamplingParams params;
    params.temperature = 0;
    params.repeat_penalty = random.Uniform(0.5f, 3);
    params.frequency_penalty = random.Uniform(-2, 2);
    params.presence_penalty = random.Uniform(-2, 2);
    params.penalty_window = static_cast<uint32_t>(random.Int(0, 20));
    const Row logits = LogitsOf(*session);
    const int32_t expected = PenalizedBest(logits, ids, params);
    n_differ += expected != std::max_element(logits.begin(), logits.end()) - logits.begin();
    ASSERT_EQ(session->Sample(params)->id, expected) << "after " << at + 1 << " tokens";
  }
  EXPECT_GT(n_differ, 5) << "the penalties never mattered";
}

}  // namespace
}  // namespace rill::test
