// What a token may cost: no heap allocation, and no byte that the plan does not name.
#include <cmath>

#include "sdk/generation.h"
#include "tests/sdk/scripted_model.h"
#include "tests/sdk/session_case.h"
#include "tests/support/counting_alloc.h"

namespace rill::test {
namespace {

constexpr int kWarmUp = 8;
constexpr int kTokens = 200;

GenerationParams Everything() {
  GenerationParams params;
  params.use_model_stops = false;
  params.sampling.temperature = 0.8f;
  params.sampling.top_k = 40;
  params.sampling.top_p = 0.95f;
  params.sampling.min_p = 0.01f;
  params.sampling.repeat_penalty = 1.1f;
  params.sampling.frequency_penalty = 0.1f;
  params.sampling.bias = {{3, 1.0f}, {4, -INFINITY}};
  params.top_logprobs = 5;
  return params;
}

class AllocationTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(HostDevices, AllocationTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

TEST_P(AllocationTest, StepAndSampleAllocateNothing) {
  const auto session = MakeSession(MakeModel(GetParam(), 4, "q4"));
  const SamplingParams sampling = Everything().sampling;
  uint64_t before = 0;
  for (int i = 0; i < kWarmUp + kTokens; ++i) {
    if (i == kWarmUp) before = AllocationCount();
    ASSERT_TRUE(session->Step(i % 97).ok());
    ASSERT_TRUE(session->Sample(sampling).ok());
    ASSERT_TRUE(session->Logits().ok());
  }
  EXPECT_EQ(AllocationCount() - before, 0u);
}

TEST_P(AllocationTest, AppendAllocatesNothingForATokenEither) {
  const auto session = MakeSession(MakeModel(GetParam(), 4), 256, 16);
  std::vector<int32_t> ids(30, 5);
  ASSERT_TRUE(session->Append(ids).ok());
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(session->Append(ids).ok());
  EXPECT_EQ(AllocationCount() - before, 0u);
}

TEST_P(AllocationTest, NextAllocatesNothingWithTextAndStopStrings) {
  const ScriptedModel scripted({"hello", " wor", "ld", "\xE6\x97"});
  const std::vector<int32_t> script = {
      'x', scripted.merge(0), scripted.merge(1), scripted.merge(2), scripted.merge(3), 0xA5, '!'};
  const auto session = MakeSession(scripted.Open(script, GetParam()));
  ASSERT_TRUE(session->Append({'x'}).ok());
  GenerationParams params = Everything();
  params.sampling.temperature = 0;
  params.sampling.repeat_penalty = 1;
  params.sampling.frequency_penalty = 0;
  params.sampling.presence_penalty = 1e-6f;
  params.stop_strings = {"world日?", "hello!", std::string(1000, 'y')};
  auto generation = Generation::Begin(*session, params);
  ASSERT_TRUE(generation.ok()) << generation.status();
  uint64_t before = 0;
  size_t text_bytes = 0;
  for (int i = 0; i < kWarmUp + kTokens; ++i) {
    if (i == kWarmUp) before = AllocationCount();
    const auto event = (*generation)->Next();
    ASSERT_TRUE(event.ok()) << event.status();
    ASSERT_EQ(event->kind, GenerationEvent::Kind::kToken);
    text_bytes += event->text.size();
  }
  EXPECT_EQ(AllocationCount() - before, 0u);
  EXPECT_GT(text_bytes, 400u) << "the reply had no text to speak of";
}

TEST_P(AllocationTest, ASessionTakesWhatItsPlanSays) {
  for (const int64_t max_tokens : {1, 300, 20'000}) {
    for (const int64_t chunk : {1, 64, 512}) {
      const auto model = MakeModel(GetParam(), 4);
      const uint64_t before = model->device().allocated_bytes();
      const auto session = MakeSession(model, max_tokens, chunk);
      const uint64_t taken = model->device().allocated_bytes() - before;
      const SessionStats stats = session->stats();
      EXPECT_EQ(stats.device_bytes, taken);
      EXPECT_EQ(stats.planned_bytes, session->plan().total());
      EXPECT_NEAR(static_cast<double>(taken), static_cast<double>(session->plan().total()),
                  0.01 * static_cast<double>(taken))
          << max_tokens << " tokens, chunk " << chunk;
      const std::vector<int32_t> ids(static_cast<size_t>(std::min<int64_t>(max_tokens, 600)), 5);
      ASSERT_TRUE(session->Append(ids).ok());
      EXPECT_EQ(model->device().allocated_bytes() - before, taken) << "a token took memory";
    }
  }
}

TEST_P(AllocationTest, AClosedSessionGivesEverythingBack) {
  const auto model = MakeModel(GetParam(), 4);
  const uint64_t before = model->device().allocated_bytes();
  MakeSession(model).reset();
  EXPECT_EQ(model->device().allocated_bytes(), before);
}

}  // namespace
}  // namespace rill::test
