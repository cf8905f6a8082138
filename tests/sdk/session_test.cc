#include "sdk/session.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "tests/sdk/session_case.h"

namespace rill::test {
namespace {

// Host devices promise bits; a GPU is held to a tolerance, in the tests of the layer below.
class SessionTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> OpenModel(const char* recipe = "bf16", int n_threads = 2) {
    return MakeModel(GetParam(), 7, recipe, n_threads);
  }
  Random random_;
};

INSTANTIATE_TEST_SUITE_P(HostDevices, SessionTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

// Row i: the logits after ids[0..i], through the sink.
std::vector<Row> AllLogits(Session& session, absl::Span<const int32_t> ids) {
  std::vector<Row> rows;
  const auto sink = [&](uint64_t position, absl::Span<const float> logits) {
    EXPECT_EQ(position, rows.size());
    rows.emplace_back(logits.begin(), logits.end());
  };
  EXPECT_TRUE(session.Append(ids, {}, sink).ok());
  EXPECT_EQ(rows.size(), ids.size());
  return rows;
}

TEST_P(SessionTest, AnySplitIntoAppendsAndStepsGivesTheSameBits) {
  for (const char* recipe : {"bf16", "q8", "q4"}) {
    const auto model = OpenModel(recipe);
    const std::vector<int32_t> ids = RandomIds(random_, 150);  // passes a cache page
    const std::vector<Row> expected = AllLogits(*MakeSession(model, 256, 64), ids);
    for (const int64_t chunk : {1, 5, 33, 256}) {
      const auto session = MakeSession(model, 256, chunk);
      while (session->length() < ids.size()) {
        const size_t at = session->length();
        const size_t n = std::min<size_t>(ids.size() - at, static_cast<size_t>(random_.Int(1, 40)));
        if (random_.Int(0, 2) == 0) {
          ASSERT_TRUE(session->Step(ids[at]).ok());
        } else {
          ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids).subspan(at, n)).ok());
        }
        ASSERT_TRUE(SameBits(LogitsOf(*session), expected[session->length() - 1]))
            << recipe << ", chunk " << chunk << ", length " << session->length();
      }
    }
  }
}

TEST(SessionThreadsOfPoolTest, DoNotChangeABit) {
  Random random;
  const std::vector<int32_t> ids = RandomIds(random, 70);
  const auto one = AllLogits(*MakeSession(MakeModel("cpu", 7, "q8", 1), 256, 32), ids);
  for (const int n_threads : {2, 7}) {
    const auto session = MakeSession(MakeModel("cpu", 7, "q8", n_threads), 256, 32);
    const auto rows = AllLogits(*session, ids);
    for (size_t i = 0; i < ids.size(); ++i) ASSERT_TRUE(SameBits(rows[i], one[i])) << i;
  }
}

TEST_P(SessionTest, ErrorsLeaveItAsItWas) {
  const auto model = OpenModel();
  const auto session = MakeSession(model, 30);
  const std::vector<int32_t> ids = RandomIds(random_, 20);
  ASSERT_TRUE(session->Append(ids).ok());
  const Row before = LogitsOf(*session);

  std::vector<int32_t> bad = RandomIds(random_, 9);
  for (const int32_t id : {-1, 97, INT32_MAX, INT32_MIN}) {
    bad[8] = id;
    const absl::Status status = session->Append(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("token 8"), absl::string_view::npos) << status;
    EXPECT_EQ(session->Step(id).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(session->Append(RandomIds(random_, 11)).code(), absl::StatusCode::kResourceExhausted);
  SamplingParams params;
  params.top_p = 0;
  EXPECT_EQ(session->Sample(params).status().code(), absl::StatusCode::kInvalidArgument);
  std::vector<int32_t> top(98);
  std::vector<float> logprobs(98);
  EXPECT_EQ(session->Sample({}, absl::MakeSpan(top), absl::MakeSpan(logprobs)).status().code(),
            absl::StatusCode::kInvalidArgument);

  EXPECT_EQ(session->length(), 20u);
  EXPECT_TRUE(SameBits(LogitsOf(*session), before));
  ASSERT_TRUE(session->Step(3).ok());
  std::vector<int32_t> all = ids;
  all.push_back(3);
  ExpectStandsAfter(*session, model, all);
}

TEST_P(SessionTest, RefusesWhatPassesTheContextWithBothNumbers) {
  const auto session = MakeSession(OpenModel(), 10);
  EXPECT_EQ(session->Append(RandomIds(random_, 11)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(session->length(), 0u);
  ASSERT_TRUE(session->Append(RandomIds(random_, 10)).ok());
  const absl::Status status = session->Step(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("10 tokens and 1 more, the limit is 10"), absl::string_view::npos)
      << status;
  EXPECT_TRUE(session->Sample({}).ok());
}

TEST_P(SessionTest, CancelFromProgressKeepsWholePasses) {
  const auto model = OpenModel();
  const std::vector<int32_t> ids = RandomIds(random_, 43);
  const absl::Span<const int32_t> span(ids);
  for (int trial = 0; trial < 12; ++trial) {
    const auto session = MakeSession(model);
    int64_t calls_left = random_.Int(1, 20);  // a pass of 8 tokens asks 5 times
    uint64_t last = 0;
    const absl::Status status = session->Append(ids, [&](uint64_t done, uint64_t total) {
      EXPECT_EQ(total, ids.size());
      EXPECT_GE(done, last);
      last = done;
      return --calls_left == 0;
    });
    ASSERT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
    const uint64_t length = session->length();
    ASSERT_EQ(length, last);
    ASSERT_EQ(length % 8, 0u);
    if (length > 0) ExpectStandsAfter(*session, model, span.subspan(0, length));
    ASSERT_TRUE(session->Append(span.subspan(length)).ok());
    ExpectStandsAfter(*session, model, ids);
    EXPECT_EQ(session->stats().cancelled_calls, 1u);
  }
}

TEST_P(SessionTest, CancelFromAnotherThreadEndsTheRunningCallOnly) {
  const auto model = OpenModel();
  const auto session = MakeSession(model);
  const std::vector<int32_t> ids = RandomIds(random_, 40);
  const absl::Status status = session->Append(ids, [&](uint64_t done, uint64_t) {
    if (done == 16) std::thread([&] { session->Cancel(); }).join();
    return false;
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(session->length(), 16u);
  ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids).subspan(16)).ok());
  ExpectStandsAfter(*session, model, ids);
}

TEST_P(SessionTest, ACancelThatComesTooLateIsStillAnswered) {
  const auto model = OpenModel();
  const auto session = MakeSession(model);
  const std::vector<int32_t> ids = RandomIds(random_, 8);
  const auto sink = [&](uint64_t position, absl::Span<const float>) {
    if (position == 7) session->Cancel();  // behind the last layer
  };
  EXPECT_EQ(session->Append(ids, {}, sink).code(), absl::StatusCode::kCancelled);
  ExpectStandsAfter(*session, model, ids);
}

TEST_P(SessionTest, CancelBetweenCallsDoesNothing) {
  const auto session = MakeSession(OpenModel());
  session->Cancel();
  EXPECT_TRUE(session->Append(RandomIds(random_, 9)).ok());
  session->Cancel();
  EXPECT_TRUE(session->Step(1).ok());
  session->Cancel();
  EXPECT_TRUE(session->Sample({}).ok());
  EXPECT_EQ(session->stats().cancelled_calls, 0u);
}

// What every call answers that is kept out.
void ExpectKeptOut(Session& session, absl::StatusCode code, const char* word) {
  std::vector<int32_t> ids = {1, 2};
  float logprob = 0;
  const absl::Status answers[] = {
      session.Append(ids),
      session.Step(1),
      session.Sample({}).status(),
      session.Reset(),
      session.Tokens(0, absl::MakeSpan(ids)).status(),
      session.Logits().status(),
      session.Logprobs({1}, absl::MakeSpan(&logprob, 1), {}, {}),
  };
  for (const absl::Status& status : answers) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_NE(status.message().find(word), absl::string_view::npos) << status;
  }
}

TEST_P(SessionTest, ASecondCallerIsToldBusyAndReEntryIsToldSo) {
  const auto model = OpenModel();
  const auto session = MakeSession(model);
  const std::vector<int32_t> ids = RandomIds(random_, 20);
  int n_seen = 0;
  const auto progress = [&](uint64_t done, uint64_t) {
    if (done == 8 && n_seen++ == 0) {
      ExpectKeptOut(*session, absl::StatusCode::kFailedPrecondition, "re-entrant");
      std::thread([&] {
        ExpectKeptOut(*session, absl::StatusCode::kAborted, "busy");
        EXPECT_EQ(session->length(), 8u);
        EXPECT_EQ(session->stats().prefill_tokens, 8u);
      }).join();
    }
    return false;
  };
  ASSERT_TRUE(session->Append(ids, progress).ok());
  EXPECT_GE(n_seen, 1);
  ExpectStandsAfter(*session, model, ids);
}

TEST_P(SessionTest, ResetIsAsFresh) {
  const auto model = OpenModel();
  const auto session = MakeSession(model);
  ASSERT_TRUE(session->Append(RandomIds(random_, 140)).ok());
  ASSERT_TRUE(session->Reset().ok());
  EXPECT_EQ(session->length(), 0u);
  EXPECT_TRUE(LogitsOf(*session).empty());
  EXPECT_EQ(session->Sample({}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session->Logprobs({}, {}, {}, {}).code(), absl::StatusCode::kFailedPrecondition);
  const std::vector<int32_t> ids = RandomIds(random_, 30);
  ASSERT_TRUE(session->Append(ids).ok());
  ExpectStandsAfter(*session, model, ids);
}

TEST_P(SessionTest, TokensAreClampedToTheTimeline) {
  const auto session = MakeSession(OpenModel());
  const std::vector<int32_t> ids = RandomIds(random_, 20);
  ASSERT_TRUE(session->Append(ids).ok());
  std::vector<int32_t> out(8, -7);
  EXPECT_EQ(*session->Tokens(15, absl::MakeSpan(out)), 5u);
  EXPECT_TRUE(std::equal(ids.begin() + 15, ids.end(), out.begin()));
  EXPECT_EQ(out[5], -7);
  EXPECT_EQ(*session->Tokens(20, absl::MakeSpan(out)), 0u);
  EXPECT_EQ(*session->Tokens(UINT64_MAX, absl::MakeSpan(out)), 0u);
  EXPECT_TRUE(session->Append({}).ok());
  EXPECT_EQ(session->length(), 20u);
}

TEST_P(SessionTest, LogprobsAreTheSoftmaxOfTheLogits) {
  const auto session = MakeSession(OpenModel());
  ASSERT_TRUE(session->Append(RandomIds(random_, 20)).ok());
  const Row logits = LogitsOf(*session);
  std::vector<int32_t> ids(97), top(97);
  for (int32_t i = 0; i < 97; ++i) ids[i] = i;
  std::vector<float> out(97), top_out(97);
  ASSERT_TRUE(
      session->Logprobs(ids, absl::MakeSpan(out), absl::MakeSpan(top), absl::MakeSpan(top_out))
          .ok());
  double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l));
  for (int i = 0; i < 97; ++i) {
    ASSERT_NEAR(out[i], static_cast<double>(logits[i]) - std::log(sum), 1e-5);
    ASSERT_EQ(top_out[i], out[top[i]]);
    ASSERT_GE(top_out[std::max(i - 1, 0)], top_out[i]);
  }
  const auto sampled = session->Sample({});
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->logprob, out[sampled->id]);
  EXPECT_EQ(session->Logprobs({97}, absl::MakeSpan(out.data(), 1), {}, {}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session->Logprobs({1, 2}, absl::MakeSpan(out.data(), 1), {}, {}).code(),
            absl::StatusCode::kInvalidArgument);
}

// A tick for every look.
class TickingClock : public Clock {
 public:
  int64_t NowNanos() override { return ++now_; }

 private:
  std::atomic<int64_t> now_{0};
};

TEST_P(SessionTest, CountsTokensAndTime) {
  TickingClock clock;
  const auto session = MakeSession(OpenModel(), 256, 8, &clock);
  ASSERT_TRUE(session->Append(RandomIds(random_, 20)).ok());  // ticks 1 to 4: three passes
  ASSERT_TRUE(session->Sample({}).ok());                      // 5, 6
  ASSERT_TRUE(session->Step(1).ok());                         // 7, 8
  ASSERT_TRUE(session->Sample({}).ok());                      // 9, 10
  SessionStats stats = session->stats();
  EXPECT_EQ(stats.prefill_tokens, 20u);
  EXPECT_EQ(stats.prefill_nanos, 3);
  EXPECT_EQ(stats.decode_tokens, 1u);
  EXPECT_EQ(stats.decode_nanos, 3);
  EXPECT_EQ(stats.sampled_tokens, 2u);
  EXPECT_EQ(stats.last_ttft_nanos, 6 - 1);
  EXPECT_DOUBLE_EQ(stats.prefill_tokens_per_second(), 20e9 / 3);
  EXPECT_GT(stats.weight_bytes_per_token, 0u);
  EXPECT_LT(stats.weight_bytes_per_token, session->model().weight_bytes());
}

TEST(SessionCreateTest, RefusesShapesOutOfRange) {
  const auto model = MakeModel("ref", 1);
  for (const SessionShape& shape :
       {SessionShape{0, 8}, SessionShape{-1, 8}, SessionShape{8, 0}, SessionShape{8, 4097},
        SessionShape{INT64_MAX, 8}, SessionShape{8, 8, DType::kI8}}) {
    EXPECT_EQ(Session::Create(model, shape).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Session::Create(nullptr, SessionShape{}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rill::test
