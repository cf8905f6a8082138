// Going back: to every position, from every kind of checkpoint, with the bits of never having gone further.
#include <algorithm>

#include "tests/sdk/referee.h"

namespace rill::test {
namespace {

class RewindTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(HostDevices, RewindTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

// Window 8: 300 tokens are many rungs, rings and gaps.
SessionShape SmallWindow(int64_t chunk = 32) {
  SessionShape shape;
  shape.max_tokens = 400;
  shape.prefill_chunk = chunk;
  shape.rewind_window = 8;
  shape.ladder_slots = 12;
  return shape;
}

TEST_P(RewindTest, EveryPositionFromTheEndHasItsBits) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 300);
  const std::vector<Row> rows = RowsOf(model, ids);
  for (const int64_t chunk : {1, 7, 32, 300}) {
    const auto session = NewSession(model, SmallWindow(chunk));
    for (int64_t to = 299; to >= 0; to -= kThin + random.Int(0, chunk == 32 ? 2 : 40)) {
      ASSERT_TRUE(session->Sync(ids).ok());
      const auto cost = session->CostOfRewind(to);
      ASSERT_TRUE(cost.ok());
      const auto paid = session->Rewind(to);
      ASSERT_TRUE(paid.ok()) << paid.status();
      EXPECT_EQ(paid->anchor + paid->replayed + paid->recomputed, static_cast<uint64_t>(to));
      EXPECT_EQ(paid->recomputed, cost->recomputed);
      ASSERT_EQ(session->length(), static_cast<uint64_t>(to));
      if (to == 0) continue;
      ASSERT_TRUE(SameBits(LogitsOf(*session), rows[to - 1])) << to;
    }
  }
}

// What the ring is for: inside the window nothing but the last token goes through the layers.
TEST_P(RewindTest, TheWindowNeedsNoLayers) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 260);
  const std::vector<Row> rows = RowsOf(model, ids);
  for (int64_t n = 20; n <= 260; n += 1 + random.Int(0, 6)) {
    const auto session = NewSession(model, SmallWindow());
    const int64_t stepped = random.Int(0, 12);
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data(), n - stepped)).ok());
    for (int64_t i = n - stepped; i < n; ++i) ASSERT_TRUE(session->Step(ids[i]).ok());
    const int64_t back = random.Int(1, 8);
    const auto cost = session->Rewind(n - back);
    ASSERT_TRUE(cost.ok());
    EXPECT_LE(cost->recomputed, 1u) << n << " back " << back;
    ASSERT_TRUE(SameBits(LogitsOf(*session), rows[n - back - 1])) << n << " back " << back;
    // And the timeline goes on from there with the same bits.
    for (int64_t i = n - back; i < n; ++i) {
      ASSERT_TRUE(session->Step(ids[i]).ok());
      ASSERT_TRUE(SameBits(LogitsOf(*session), rows[i])) << n << " back " << back << " at " << i;
    }
  }
}

// Tokens that were taken back had written over the records of older ones: a second step back must not replay those.
TEST_P(RewindTest, TwiceBackReplaysOnlyWhatIsStillRecorded) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 260);
  const std::vector<Row> rows = RowsOf(model, ids);
  for (int i = 0; i < 64 / kThin; ++i) {
    int64_t at = random.Int(40, 260);
    const auto session = NewSession(model, SmallWindow());
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data(), at)).ok());
    std::string way = std::to_string(at);
    for (int step = 0; step < 4; ++step) {
      at -= random.Int(1, 9);
      way += " " + std::to_string(at);
      ASSERT_TRUE(session->Rewind(at).ok());
      ASSERT_TRUE(SameBits(LogitsOf(*session), rows[at - 1])) << way;
      ASSERT_TRUE(session->Step(ids[at]).ok());
      ASSERT_TRUE(SameBits(LogitsOf(*session), rows[at])) << way;
      ++at;
    }
  }
}

TEST_P(RewindTest, AnotherContinuationIsNotContaminated) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  std::vector<int32_t> ids = RandomIds(random, 200);
  const auto session = NewSession(model, SmallWindow());
  ASSERT_TRUE(session->Append(ids).ok());
  for (int i = 0; i < 12; ++i) {
    const int64_t to = random.Int(1, static_cast<int64_t>(ids.size()));
    ASSERT_TRUE(session->Rewind(to).ok());
    ids.resize(static_cast<size_t>(to));
    const std::vector<int32_t> more = RandomIds(random, random.Int(1, 60));
    ASSERT_TRUE(session->Append(more).ok());
    ids.insert(ids.end(), more.begin(), more.end());
    ASSERT_EQ(TokensOf(*session), ids);
    ASSERT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, ids).back()));
  }
}

TEST_P(RewindTest, MarksStayAndCostNothing) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 390);
  const auto session = NewSession(model, SmallWindow());
  EXPECT_EQ(session->Mark(7).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data(), 21)).ok());
  ASSERT_TRUE(session->Mark(7).ok());
  ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data() + 21, 369)).ok());
  const auto cost = session->CostOfRewind(21);
  ASSERT_TRUE(cost.ok());
  EXPECT_EQ(cost->anchor, 21u);
  EXPECT_EQ(cost->replayed + cost->recomputed, 0u);
  ASSERT_TRUE(session->Rewind(21).ok());
  EXPECT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, absl::MakeConstSpan(ids.data(), 21)).back()));

  // As many as the ladder takes, then a refusal that says how many.
  absl::Status status;
  int marks = 1;
  while (status.ok() && marks < 100) {
    ASSERT_TRUE(session->Step(ids[21 + marks]).ok());
    status = session->Mark(100 + marks);
    if (status.ok()) ++marks;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(marks, 12 - 4 - 3 - 1);
  ASSERT_TRUE(session->Unmark(7).ok());
  EXPECT_TRUE(session->Mark(8).ok());
}

TEST_P(RewindTest, WhatIsWrongIsRefusedAndChangesNothing) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const auto session = NewSession(model, SmallWindow());
  const std::vector<int32_t> ids = RandomIds(random, 30);
  ASSERT_TRUE(session->Append(ids).ok());
  const Row before = LogitsOf(*session);
  EXPECT_EQ(session->Rewind(31).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(session->CostOfRewind(UINT64_MAX).status().code(), absl::StatusCode::kOutOfRange);
  std::vector<int32_t> bad = ids;
  bad[25] = 97;
  EXPECT_EQ(session->Sync(bad).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session->Sync(std::vector<int32_t>(401, 1)).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(TokensOf(*session), ids);
  EXPECT_TRUE(SameBits(LogitsOf(*session), before));
}

TEST_P(RewindTest, ACancelledRewindIsNoRewind) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  SessionShape shape = SmallWindow(16);
  shape.ladder_slots = 8;
  const std::vector<int32_t> ids = RandomIds(random, 390);
  const auto session = NewSession(model, shape);
  ASSERT_TRUE(session->Append(ids).ok());
  const auto other = session->Fork();  // shares every page, so that the recomputed rows go to copies
  ASSERT_TRUE(other.ok());
  const Row before = LogitsOf(*session);
  int cancelled = 0;
  for (uint64_t to = 340; to > 100; to -= 7) {
    int calls = 0;
    const int allowed = static_cast<int>(random.Int(0, 5));
    const auto status = session->Rewind(to, [&](uint64_t, uint64_t) { return calls++ >= allowed; }).status();
    if (status.ok()) {
      ASSERT_TRUE(session->Sync(ids).ok());
      continue;
    }
    ++cancelled;
    ASSERT_EQ(status.code(), absl::StatusCode::kCancelled);
    ASSERT_EQ(TokensOf(*session), ids);
    ASSERT_TRUE(SameBits(LogitsOf(*session), before));
    ASSERT_TRUE(session->Step(5).ok());
    std::vector<int32_t> longer = ids;
    longer.push_back(5);
    ASSERT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, longer).back())) << to;
    ASSERT_TRUE(session->Sync(ids).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*session), before));
  }
  EXPECT_GT(cancelled, 5);
  EXPECT_TRUE(SameBits(LogitsOf(**other), before));
}

TEST_P(RewindTest, SyncSaysWhatItKept) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const auto session = NewSession(model, SmallWindow());
  std::vector<int32_t> ids = RandomIds(random, 100);
  const auto expect = [&](SyncReason reason, uint64_t common, uint64_t appended) {
    const auto report = session->Sync(ids);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->reason, reason);
    EXPECT_EQ(report->common, common);
    EXPECT_EQ(report->appended, appended);
    EXPECT_EQ(report->rewind.anchor + report->rewind.replayed + report->rewind.recomputed, common);
    EXPECT_EQ(TokensOf(*session), ids);
    EXPECT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, ids).back()));
  };
  expect(SyncReason::kExtended, 0, 100);
  expect(SyncReason::kSame, 100, 0);
  ids.push_back(3);
  expect(SyncReason::kExtended, 100, 1);
  ids[60] = (ids[60] + 1) % 97;
  expect(SyncReason::kRewound, 60, 41);
  ids.resize(50);
  expect(SyncReason::kRewound, 50, 0);
  ids[0] = (ids[0] + 1) % 97;
  expect(SyncReason::kRebuilt, 0, 50);
}

// Without a window the ladder alone answers, and the bits are the same.
TEST_P(RewindTest, WorksWithoutAReplayRing) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  SessionShape shape = SmallWindow();
  shape.rewind_window = 0;
  const std::vector<int32_t> ids = RandomIds(random, 200);
  const std::vector<Row> rows = RowsOf(model, ids);
  const auto session = NewSession(model, shape);
  for (int64_t to = 199; to > 0; to -= 13) {
    ASSERT_TRUE(session->Sync(ids).ok());
    const auto cost = session->Rewind(to);
    ASSERT_TRUE(cost.ok());
    EXPECT_EQ(cost->replayed, 0u);
    ASSERT_TRUE(SameBits(LogitsOf(*session), rows[to - 1]));
  }
}

// The ladder keeps its gaps in proportion to their age.
TEST_P(RewindTest, TheLadderStaysReachable) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const auto session = NewSession(model, SmallWindow());
  const std::vector<int32_t> ids = RandomIds(random, 400);
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(session->Step(ids[i]).ok());
  std::vector<uint64_t> rungs(64);
  const auto n = session->Checkpoints(absl::MakeSpan(rungs));
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 8u);
  for (size_t i = 1; i < *n; ++i) {
    const uint64_t gap = rungs[i] - rungs[i - 1], age = 400 - rungs[i - 1];
    EXPECT_LE(gap, std::max<uint64_t>(age, 8)) << "below " << rungs[i];
  }
}

}  // namespace
}  // namespace rill::test
