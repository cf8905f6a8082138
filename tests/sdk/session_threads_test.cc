// Many threads on one session and many sessions on one model: nobody waits, nothing tears.
#include <atomic>
#include <thread>

#include "sdk/call_gate.h"
#include "sdk/generation.h"
#include "tests/sdk/session_case.h"

namespace rill::test {
namespace {

TEST(CallGateTest, LetsOneInAndTellsTheOthersWhy) {
  CallGate gate;
  ASSERT_TRUE(gate.Enter().ok());
  EXPECT_EQ(gate.Enter().code(), absl::StatusCode::kFailedPrecondition);
  std::thread([&] { EXPECT_EQ(gate.Enter().code(), absl::StatusCode::kAborted); }).join();
  gate.Leave();
  std::thread([&] {
    EXPECT_TRUE(gate.Enter().ok());
    gate.Leave();
  }).join();
}

TEST(CallGateTest, ACancellationIsForOneCall) {
  CallGate gate;
  gate.Cancel();
  ASSERT_TRUE(gate.Enter().ok());
  EXPECT_FALSE(gate.cancelled());
  gate.Cancel();
  gate.Cancel();
  EXPECT_TRUE(gate.cancelled());
  gate.Leave();
  ASSERT_TRUE(gate.Enter().ok());
  EXPECT_FALSE(gate.cancelled());
  gate.Leave();
}

TEST(CallGateTest, ATasksCancellationIsOwedUntilAnsweredOrItsEnd) {
  CallGate gate;
  const auto cancelled = [&] {
    CallScope call(gate);
    return gate.cancelled();
  };
  gate.BeginTask();
  gate.Cancel();
  EXPECT_TRUE(cancelled());  // a call that cannot answer leaves it to the next
  EXPECT_TRUE(cancelled());
  gate.Answered();
  EXPECT_FALSE(cancelled());
  gate.Cancel();
  gate.EndTask();
  EXPECT_FALSE(cancelled());
  gate.BeginTask();
  EXPECT_FALSE(cancelled());
}

bool Expected(const absl::Status& status) {
  return status.ok() || absl::IsAborted(status) || absl::IsCancelled(status) ||
         absl::IsResourceExhausted(status);
}

TEST(SessionThreadsTest, AnyMixOfCallsLeavesATimelineThatCanBeReplayed) {
  const auto model = MakeModel("cpu", 9);
  const auto session = MakeSession(model, 400, 4);
  ASSERT_TRUE(session->Append({1}).ok());
  std::atomic<int> running{3};
  std::atomic<bool> cancel{false};
  std::atomic<int> n_fed{0};
  const auto feed = [&](uint64_t seed) {
    Random random(seed);
    for (int i = 0; i < 60; ++i) {
      if (i % 4 == 0) cancel = true;
      const absl::Status status = random.Int(0, 1) == 0
                                      ? session->Step(static_cast<int32_t>(random.Int(0, 96)))
                                      : session->Append(RandomIds(random, random.Int(1, 9)));
      ASSERT_TRUE(Expected(status)) << status;
      n_fed += status.ok();
      const auto sampled = session->Sample({});
      ASSERT_TRUE(Expected(sampled.status())) << sampled.status();
    }
    --running;
  };
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) threads.emplace_back(feed, Seed() + t);
  threads.emplace_back([&] {
    uint64_t last = 0;
    while (running > 0) {
      if (cancel.exchange(false)) session->Cancel();
      const uint64_t length = session->length();
      EXPECT_GE(length, last);
      last = length;
      EXPECT_LE(session->stats().decode_tokens, 400u);
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(n_fed, 0);
  ExpectStandsAfter(*session, model, TokensOf(*session));
}

TEST(SessionThreadsTest, SessionsOfOneModelDoNotSeeEachOther) {
  const auto model = MakeModel("cpu", 9, "q8");
  const auto reply = [&](uint64_t seed) {
    const auto session = MakeSession(model);
    Random random(seed);
    EXPECT_TRUE(session->Append(RandomIds(random, 20)).ok());
    GenerationParams params;
    params.use_model_stops = false;
    params.sampling.seed = seed;
    auto generation = Generation::Begin(*session, params);
    for (int i = 0; i < 30; ++i) EXPECT_TRUE((*generation)->Next().ok());
    return TokensOf(*session);
  };
  std::vector<std::vector<int32_t>> together(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { together[t] = reply(t); });
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < 4; ++t) EXPECT_EQ(together[t], reply(t));
}

TEST(SessionThreadsTest, ACancelDuringAReplyIsAnsweredOnceEach) {
  const auto model = MakeModel("cpu", 9);
  const auto session = MakeSession(model, 256);
  ASSERT_TRUE(session->Append({1}).ok());
  GenerationParams params;
  params.use_model_stops = false;
  params.max_tokens = 200;
  auto generation = Generation::Begin(*session, params);
  ASSERT_TRUE(generation.ok());
  std::atomic<bool> cancel{false}, done{false};
  std::thread canceller([&] {
    while (!done) {
      if (cancel.exchange(false)) session->Cancel();
      std::this_thread::yield();
    }
  });
  int n_cancelled = 0;
  std::vector<int32_t> ids = {1};
  for (int asked = 0; asked < 20; ++asked) {
    cancel = true;
    for (;;) {  // the reply goes on until the cancellation lands, at whatever instant that is
      const auto event = (*generation)->Next();
      if (absl::IsCancelled(event.status())) break;
      ASSERT_TRUE(event.ok());
      if (event->kind == GenerationEvent::Kind::kEnd) continue;
      ids.push_back(event->id);
    }
    ++n_cancelled;
  }
  done = true;
  canceller.join();
  EXPECT_EQ(n_cancelled, 20);
  EXPECT_EQ(session->stats().cancelled_calls, 20u);
  const auto last = (*generation)->Next();
  ASSERT_TRUE(last.ok());
  if (last->kind == GenerationEvent::Kind::kToken) ids.push_back(last->id);
  EXPECT_EQ(TokensOf(*session), ids);  // every token that was fed was told
}

}  // namespace
}  // namespace rill::test
