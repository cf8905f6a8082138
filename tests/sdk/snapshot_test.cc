// Snapshots and forks: coming back and branching, with the bits of one undisturbed timeline.
#include "sdk/snapshot.h"

#include <algorithm>

#include "tests/sdk/referee.h"
#include "tests/sdk/scripted_model.h"

namespace rill::test {
namespace {

class SnapshotTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(HostDevices, SnapshotTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

SessionShape Shape(int64_t max_tokens = 400) {
  SessionShape shape;
  shape.max_tokens = max_tokens;
  shape.prefill_chunk = 32;
  shape.rewind_window = 8;
  return shape;
}

TEST_P(SnapshotTest, EverySplitPointGoesOnWithTheSameBits) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 300);
  const std::vector<Row> rows = RowsOf(model, ids);
  const auto session = NewSession(model, Shape());
  const auto elsewhere = NewSession(model, Shape());
  for (int64_t split = 0; split <= 256; split += kThin) {
    ASSERT_TRUE(session->Sync(absl::MakeConstSpan(ids.data(), split)).ok());
    const auto snapshot = session->TakeSnapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    ASSERT_TRUE(session->Append(RandomIds(random, random.Int(1, 40))).ok());  // another future
    ASSERT_TRUE(elsewhere->Restore(**snapshot).ok());
    ASSERT_TRUE(session->Restore(**snapshot).ok());
    for (Session* each : {session.get(), elsewhere.get()}) {
      ASSERT_EQ(each->length(), static_cast<uint64_t>(split));
      if (split > 0) {
        ASSERT_TRUE(SameBits(LogitsOf(*each), rows[split - 1])) << split;
      }
      const int64_t end = std::min<int64_t>(split + random.Int(1, 3), 300);
      ASSERT_TRUE(each->Append(absl::MakeConstSpan(ids.data() + split, end - split)).ok());
      ASSERT_TRUE(SameBits(LogitsOf(*each), rows[end - 1])) << split;
    }
  }
}

TEST_P(SnapshotTest, ForksGoTheirOwnWays) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 200);
  auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Append(ids).ok());
  std::vector<std::pair<std::unique_ptr<Session>, std::vector<int32_t>>> forks;
  for (int i = 0; i < 4; ++i) {
    auto fork = session->Fork();
    ASSERT_TRUE(fork.ok()) << fork.status();
    std::vector<int32_t> more = RandomIds(random, 20 + 30 * i);
    if (i % 2 == 1) {
      ASSERT_TRUE((*fork)->Rewind(130).ok());
    }
    ASSERT_TRUE((*fork)->Append(more).ok());
    more.insert(more.begin(), ids.begin(), ids.begin() + (i % 2 == 1 ? 130 : 200));
    forks.emplace_back(*std::move(fork), std::move(more));
  }
  ASSERT_TRUE(session->Rewind(64).ok());
  ASSERT_TRUE(session->Append({1, 2, 3}).ok());
  session.reset();  // the first may go first
  for (const auto& [fork, expected] : forks) {
    ASSERT_EQ(TokensOf(*fork), expected);
    ASSERT_TRUE(SameBits(LogitsOf(*fork), RowsOf(model, expected).back()));
    ASSERT_TRUE(fork->Rewind(100).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*fork), RowsOf(model, absl::MakeConstSpan(ids.data(), 100)).back()));
  }
}

// A context of many pages costs a fork what one page costs it.
TEST_P(SnapshotTest, AForkCopiesNoPage) {
  const auto model = MakeModel(GetParam(), 3);
  const auto session = NewSession(model, Shape(4096));
  ASSERT_TRUE(session->Append(std::vector<int32_t>(4000, 5)).ok());
  const auto fork = session->Fork();
  ASSERT_TRUE(fork.ok());
  EXPECT_TRUE(SameBits(LogitsOf(**fork), LogitsOf(*session)));
  ASSERT_TRUE((*fork)->Append({1}).ok());  // copies the last page only, and the pool has room for that
  ASSERT_TRUE(session->Append({2}).ok());
}

// Where the logits lie shows that they were not copied; whoever moves on leaves them to the other.
TEST_P(SnapshotTest, AForkSharesItsLogitsUntilOneOfTheTwoMovesOn) {
  const auto model = MakeModel(GetParam(), 3);
  const std::vector<int32_t> ids(50, 5);
  for (const bool fork_first : {false, true}) {
    auto session = NewSession(model, Shape());
    ASSERT_TRUE(session->Append(ids).ok());
    auto fork = session->Fork();
    ASSERT_TRUE(fork.ok());
    const Row row = LogitsOf(*session);
    EXPECT_EQ((*fork)->Logits()->data(), session->Logits()->data());
    Session& mover = fork_first ? **fork : *session;
    Session& stays = fork_first ? *session : **fork;
    ASSERT_TRUE(mover.Step(7).ok());
    EXPECT_NE((*fork)->Logits()->data(), session->Logits()->data());
    EXPECT_TRUE(SameBits(LogitsOf(stays), row));
    const Row moved = LogitsOf(mover);
    const float* const place = stays.Logits()->data();
    ASSERT_TRUE(stays.Step(7).ok());
    EXPECT_EQ(stays.Logits()->data(), place) << "nobody else had them any more";
    EXPECT_TRUE(SameBits(LogitsOf(stays), moved));
    (fork_first ? *fork : session).reset();
  }
}

TEST_P(SnapshotTest, WhatDoesNotFitIsRefused) {
  const auto model = MakeModel(GetParam(), 3), other = MakeModel(GetParam(), 4);
  const auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Append(std::vector<int32_t>(100, 5)).ok());
  const auto snapshot = session->TakeSnapshot();
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ(NewSession(other, Shape())->Restore(**snapshot).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(NewSession(model, Shape(99))->Restore(**snapshot).code(), absl::StatusCode::kResourceExhausted);
  SessionShape wide = Shape();
  wide.mla_dtype = DType::kF32;
  EXPECT_EQ(NewSession(model, wide)->Restore(**snapshot).code(), absl::StatusCode::kInvalidArgument);
}

// Whatever is done in whatever order, every session is what its tokens say.
TEST_P(SnapshotTest, RandomInterleavingsEqualAReplay) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  struct Line {
    std::unique_ptr<Session> session;
    std::vector<int32_t> ids;
  };
  std::vector<Line> lines;
  lines.push_back({NewSession(model, Shape(320)), {}});
  std::vector<std::pair<std::shared_ptr<const Snapshot>, std::vector<int32_t>>> kept;
  std::string history;  // operation @ length, for a failure's message
  for (int i = 0; i < 800 / kThin; ++i) {
    Line& line = lines[static_cast<size_t>(random.Int(0, static_cast<int64_t>(lines.size()) - 1))];
    Session& session = *line.session;
    const int64_t room = 320 - static_cast<int64_t>(line.ids.size());
    const int64_t op = random.Int(0, 8);
    history += " " + std::to_string(&line - lines.data()) + ":" + std::to_string(op) + "@" + std::to_string(line.ids.size());
    switch (op) {
      case 0:
      case 1: {
        const std::vector<int32_t> more = RandomIds(random, std::min<int64_t>(room, random.Int(1, 70)));
        ASSERT_TRUE(session.Append(more).ok());
        line.ids.insert(line.ids.end(), more.begin(), more.end());
        break;
      }
      case 2:
        if (room == 0) break;
        line.ids.push_back(static_cast<int32_t>(random.Int(0, 96)));
        ASSERT_TRUE(session.Step(line.ids.back()).ok());
        break;
      case 3: {
        const int64_t n = static_cast<int64_t>(line.ids.size());
        const int64_t to = random.Int(0, 1) == 0 ? random.Int(0, n) : std::max<int64_t>(0, n - random.Int(0, 16));
        ASSERT_TRUE(session.Rewind(static_cast<uint64_t>(to)).ok());
        line.ids.resize(static_cast<size_t>(to));
        break;
      }
      case 4:
        kept.emplace_back(*session.TakeSnapshot(), line.ids);
        if (kept.size() > 5) kept.erase(kept.begin() + random.Int(0, 5));
        break;
      case 5: {
        if (kept.empty()) break;
        const auto& [snapshot, ids] = kept[static_cast<size_t>(random.Int(0, static_cast<int64_t>(kept.size()) - 1))];
        ASSERT_TRUE(session.Restore(*snapshot).ok());
        line.ids = ids;
        break;
      }
      case 6: {
        auto fork = session.Fork();
        ASSERT_TRUE(fork.ok());
        Line branch{*std::move(fork), line.ids};
        lines.push_back(std::move(branch));
        if (lines.size() > 4) lines.erase(lines.begin() + random.Int(0, 4));
        break;
      }
      case 7: {
        std::vector<int32_t> ids = line.ids;
        for (int32_t& id : ids) {
          if (random.Int(0, 100) == 0) id = static_cast<int32_t>(random.Int(0, 96));
        }
        ASSERT_TRUE(session.Sync(ids).ok());
        line.ids = ids;
        break;
      }
      case 8:
        if (!line.ids.empty()) session.Mark(static_cast<uint64_t>(i)).IgnoreError();
        break;
    }
    for (const Line& each : lines) {
      if (each.session->length() == 0 || (kThin == 1 && random.Int(0, 3) != 0)) continue;
      ASSERT_EQ(TokensOf(*each.session), each.ids) << "after" << history;
      ASSERT_TRUE(SameBits(LogitsOf(*each.session), RowsOf(model, each.ids).back())) << "after" << history;
    }
  }
}

// A reply in the middle: half a character pending, a stop string half matched. The fork says the rest of it.
TEST_P(SnapshotTest, AForkedReplyGoesOnWhereItStood) {
  const ScriptedModel scripted({"hello", " wor", "ld", "\xE6\x97"});
  const std::vector<int32_t> script = {'x', scripted.merge(0), scripted.merge(1), scripted.merge(2),
                                       scripted.merge(3), 0xA5, '!', 'e', 'n', 'd'};
  GenerationParams params;
  params.sampling.temperature = 0;
  params.use_model_stops = false;
  params.max_tokens = 9;
  params.stop_strings = {"world\xE6\x97\xA5?", "en?"};
  for (int split = 0; split <= 9; ++split) {
    const auto session = MakeSession(scripted.Open(script, GetParam()));
    ASSERT_TRUE(session->Append({'x'}).ok());
    EXPECT_EQ(Generation::Resume(*session).status().code(), absl::StatusCode::kFailedPrecondition);
    auto generation = Generation::Begin(*session, params);
    ASSERT_TRUE(generation.ok()) << generation.status();
    for (int i = 0; i < split; ++i) ASSERT_TRUE((*generation)->Next().ok());
    const auto fork = session->Fork();
    ASSERT_TRUE(fork.ok()) << fork.status();
    auto resumed = Generation::Resume(**fork);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(RestOfReply(**resumed), RestOfReply(**generation)) << split;
    EXPECT_EQ(TokensOf(**fork), TokensOf(*session));
  }
}

}  // namespace
}  // namespace rill::test
