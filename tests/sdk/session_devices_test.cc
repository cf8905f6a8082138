// What a session promises on every device, GPUs included: near the reference, and atomic to the
// bit.
#include <algorithm>
#include <cmath>

#include "model/graph/stepped_pass.h"
#include "sdk/generation.h"
#include "sdk/snapshot.h"
#include "tests/sdk/session_case.h"
#include "tests/support/devices.h"
#include "tests/support/memory_fs.h"

namespace rill::test {
namespace {

class SessionDevicesTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = WhyAbsent(GetParam()); !why.empty()) GTEST_SKIP() << why;
    model_ = MakeModel(GetParam(), 12);
    ASSERT_NE(model_, nullptr);
    ids_ = RandomIds(random_, 150);
  }

  absl::Span<const int32_t> Ids(size_t from, size_t n) const {
    return absl::MakeConstSpan(ids_).subspan(from, n);
  }

  Random random_;
  std::shared_ptr<const Model> model_;
  std::vector<int32_t> ids_;
};
RILL_FOR_EACH_DEVICE(SessionDevicesTest);

// With cache rows in float32: bfloat16 ones round a last-bit difference between devices to one of three digits.
std::unique_ptr<Session> WideSession(std::shared_ptr<const Model> model) {
  auto session = Session::Create(std::move(model), SessionShape{256, 48, DType::kF32});
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

void ExpectNear(const Row& got, const Row& expected, float tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  float largest = 0, apart = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    apart = std::max(apart, std::abs(got[i] - expected[i]));
    ASSERT_FALSE(std::isnan(got[i])) << i;
  }
  EXPECT_LE(apart, tolerance * largest);
}

TEST_P(SessionDevicesTest, StaysNearTheReferenceThroughPassesAndSteps) {
  const float tolerance = model_->device().is_host() ? 1e-4f : 5e-2f;
  const auto session = WideSession(model_);
  const auto reference = WideSession(MakeModel("ref", 12));
  ASSERT_TRUE(session->Append(Ids(0, 100)).ok() && reference->Append(Ids(0, 100)).ok());
  ExpectNear(LogitsOf(*session), LogitsOf(*reference), tolerance);
  for (size_t at = 100; at < 140; ++at) {
    ASSERT_TRUE(session->Step(ids_[at]).ok() && reference->Step(ids_[at]).ok());
    ExpectNear(LogitsOf(*session), LogitsOf(*reference), tolerance);
  }
}

TEST_P(SessionDevicesTest, GoesOnAfterACancelWithTheBitsOfAnUnbrokenRun) {
  const auto unbroken = MakeSession(model_), broken = MakeSession(model_);
  ASSERT_TRUE(unbroken->Append(ids_).ok());
  ASSERT_TRUE(unbroken->Step(1).ok());
  while (broken->length() < ids_.size()) {
    const uint64_t from = broken->length();
    int64_t calls_left = random_.Int(6, 30);
    const absl::Status status = broken->Append(
        Ids(from, ids_.size()), [&](uint64_t, uint64_t) { return --calls_left == 0; });
    ASSERT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  }
  ASSERT_TRUE(broken->Step(1).ok());
  EXPECT_TRUE(SameBits(LogitsOf(*unbroken), LogitsOf(*broken)));
}

// The device's own scratch belongs to no session: whoever needs it first makes it grow.
TEST_P(SessionDevicesTest, CountsTheDevicesBytes) {
  {
    const auto first = MakeSession(model_, 1000, 32);
    ASSERT_TRUE(first->Append(ids_).ok());
    ASSERT_TRUE(first->Sample({}).ok());
  }
  const uint64_t before = model_->device().allocated_bytes();
  const auto session = MakeSession(model_, 1000, 32);
  EXPECT_EQ(session->stats().device_bytes, model_->device().allocated_bytes() - before);
  ASSERT_TRUE(session->Append(ids_).ok());
  ASSERT_TRUE(session->Sample({}).ok());
  EXPECT_EQ(session->stats().device_bytes, model_->device().allocated_bytes() - before);
}

TEST_P(SessionDevicesTest, RepeatsAReplyForASeed) {
  std::vector<std::vector<int32_t>> replies;
  for (int run = 0; run < 2; ++run) {
    const auto session = MakeSession(model_);
    ASSERT_TRUE(session->Append(Ids(0, 20)).ok());
    GenerationParams params;
    params.use_model_stops = false;
    params.sampling.seed = 5;
    params.sampling.repeat_penalty = 1.2f;
    const auto generation = Generation::Begin(*session, params);
    ASSERT_TRUE(generation.ok()) << generation.status();
    for (int i = 0; i < 60; ++i) ASSERT_TRUE((*generation)->Next().ok());
    replies.push_back(TokensOf(*session));
  }
  EXPECT_EQ(replies[0], replies[1]);
}

// The logits after each of `ids`, stepped, and after a pass over them all once more.
std::vector<Row> StepThrough(Session& session, absl::Span<const int32_t> ids) {
  std::vector<Row> rows;
  for (const int32_t id : ids) {
    EXPECT_TRUE(session.Step(id).ok());
    rows.push_back(LogitsOf(session));
  }
  EXPECT_TRUE(session.Append(ids).ok());
  rows.push_back(LogitsOf(session));
  return rows;
}

// The same calls on the same device: the same bits, on GPUs too.
TEST_P(SessionDevicesTest, ComesBackWithItsBits) {
  MemoryFileSystem fs;
  const auto session = MakeSession(model_, 256, 48);
  ASSERT_TRUE(session->Append(Ids(0, 100)).ok());
  const auto snapshot = session->TakeSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  ASSERT_TRUE(session->Save(fs, "/s").ok());
  const auto fork = session->Fork();
  ASSERT_TRUE(fork.ok()) << fork.status();
  const std::vector<Row> expected = StepThrough(*session, Ids(100, 40));
  const auto expect_same = [&](Session& other, const char* how) {
    const std::vector<Row> rows = StepThrough(other, Ids(100, 40));
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_TRUE(SameBits(rows[i], expected[i])) << how << " at " << i;
  };
  expect_same(**fork, "forked");
  const auto loaded = Session::Load(model_, fs, "/s");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  expect_same(**loaded, "loaded");
  ASSERT_TRUE(session->Restore(**snapshot).ok());
  expect_same(*session, "restored");
  ASSERT_TRUE(session->Restore(**snapshot).ok());
  ASSERT_TRUE(session->Hibernate(fs, "/bed").ok());
  expect_same(*session, "slept");
}

// A q4 model that the fused step covers, of which a pass of a few tokens moves more bytes than their steps.
class SteppedPassDevicesTest : public SessionDevicesTest {
 protected:
  static constexpr int64_t kChunk = 48;

  void SetUp() override {
    SessionDevicesTest::SetUp();
    if (IsSkipped()) return;
    ModelConfig config = SessionConfig();
    config.kda_head_dim = 32;
    ModelOptions options;
    options.device = GetParam();
    auto model = Model::Synthesize(config, *MakeRecipe("q4"), 12, options);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
    if (model_->device().ops().make_fused_decoder == nullptr) GTEST_SKIP() << GetParam() << " has no fused steps";
    longest_ = static_cast<size_t>(LongestSteppedPass(model_->config(), model_->weight_traffic(), kChunk));
    ASSERT_GT(longest_, 2u);
    ASSERT_LT(longest_, static_cast<size_t>(kChunk));
  }

  size_t longest_ = 0;
};
RILL_FOR_EACH_DEVICE(SteppedPassDevicesTest);

TEST_P(SteppedPassDevicesTest, HasTheBitsOfItsSteps) {
  const auto passes = MakeSession(model_, 256, kChunk), steps = MakeSession(model_, 256, kChunk);
  for (size_t at = 0; at + longest_ <= ids_.size(); at += longest_) {
    ASSERT_TRUE(passes->Append(Ids(at, longest_)).ok());
    for (const int32_t id : Ids(at, longest_)) ASSERT_TRUE(steps->Step(id).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*passes), LogitsOf(*steps))) << at;
  }
}

// Checkpoints are taken inside of passes. Each target has a session of its own: one that goes back further than a short
// pass is fed by a pass, which leaves other bits.
TEST_P(SteppedPassDevicesTest, LeavesTheCheckpointsOfItsSteps) {
  const size_t length = ids_.size() / longest_ * longest_;
  const auto steps = MakeSession(model_, 256, kChunk);
  int compared = 0;
  for (size_t to = 1; to < length; ++to) {
    ASSERT_TRUE(steps->Step(ids_[to - 1]).ok());
    const auto passes = MakeSession(model_, 256, kChunk);
    for (size_t at = 0; at < length; at += longest_) ASSERT_TRUE(passes->Append(Ids(at, longest_)).ok());
    const auto cost = passes->Rewind(to);
    ASSERT_TRUE(cost.ok()) << cost.status();
    if (cost->anchor == 0 || cost->recomputed == 0 || cost->recomputed > longest_) continue;
    ++compared;
    ASSERT_TRUE(SameBits(LogitsOf(*passes), LogitsOf(*steps))) << to << " from " << cost->anchor;
  }
  EXPECT_GT(compared, 3);
}

TEST_P(SteppedPassDevicesTest, IsNearAPassOfTheSameTokens) {
  const auto stepped = WideSession(model_), whole = WideSession(model_);
  for (size_t at = 0; at < 48; at += longest_) ASSERT_TRUE(stepped->Append(Ids(at, std::min(longest_, 48 - at))).ok());
  ASSERT_TRUE(whole->Append(Ids(0, 48)).ok());
  ExpectNear(LogitsOf(*stepped), LogitsOf(*whole), 5e-2f);
}

TEST_P(SteppedPassDevicesTest, ACancelTakesAllOfItBack) {
  const auto session = MakeSession(model_, 256, kChunk), unbroken = MakeSession(model_, 256, kChunk);
  ASSERT_TRUE(session->Append(Ids(0, longest_)).ok() && unbroken->Append(Ids(0, longest_)).ok());
  const Row before = LogitsOf(*session);
  for (int polls = 1; polls <= static_cast<int>(longest_); ++polls) {
    int left = polls;
    const absl::Status status =
        session->Append(Ids(longest_, longest_), [&](uint64_t, uint64_t) { return --left == 0; });
    ASSERT_TRUE(absl::IsCancelled(status)) << polls << ": " << status;
    ASSERT_EQ(session->length(), longest_);
    ASSERT_TRUE(SameBits(LogitsOf(*session), before)) << polls;
    const auto fork = session->Fork();  // has the device's logits, where the session may have a copy of them
    ASSERT_TRUE(fork.ok()) << fork.status();
    ASSERT_TRUE(SameBits(LogitsOf(**fork), before)) << polls;
  }
  ASSERT_TRUE(session->Append(Ids(longest_, longest_)).ok() && unbroken->Append(Ids(longest_, longest_)).ok());
  EXPECT_TRUE(SameBits(LogitsOf(*session), LogitsOf(*unbroken)));
}

// Rows that go to a sink are never taken back, so they come from a pass.
TEST_P(SteppedPassDevicesTest, RowsForASinkComeFromAPass) {
  const auto session = MakeSession(model_, 256, kChunk), stepped = MakeSession(model_, 256, kChunk);
  std::vector<Row> rows;
  const auto keep = [&](uint64_t, absl::Span<const float> row) { rows.emplace_back(row.begin(), row.end()); };
  ASSERT_TRUE(session->Append(Ids(0, longest_), nullptr, keep).ok());
  ASSERT_EQ(rows.size(), longest_);
  for (size_t i = 0; i < longest_; ++i) {
    ASSERT_TRUE(stepped->Step(ids_[i]).ok());
    ExpectNear(rows[i], LogitsOf(*stepped), 5e-2f);
  }
}

TEST_P(SessionDevicesTest, GoesBackAnywhere) {
  const float tolerance = model_->device().is_host() ? 1e-4f : 5e-2f;
  const auto session = WideSession(model_);
  for (const uint64_t to : {149u, 140u, 97u, 64u, 3u}) {
    ASSERT_TRUE(session->Sync(ids_).ok());
    const auto cost = session->Rewind(to);
    ASSERT_TRUE(cost.ok()) << cost.status();
    EXPECT_EQ(cost->anchor + cost->replayed + cost->recomputed, to);
    const auto reference = WideSession(MakeModel("ref", 12));
    ASSERT_TRUE(reference->Append(Ids(0, to)).ok());
    ExpectNear(LogitsOf(*session), LogitsOf(*reference), tolerance);
  }
}

// A file of one device loads on another when that is asked for: near, not the same bits.
TEST_P(SessionDevicesTest, FilesCrossDevices) {
  const std::string other = GetParam() == "cpu" ? "ref" : "cpu";
  const std::shared_ptr<const Model> here = model_, there = MakeModel(other, 12);
  MemoryFileSystem fs;
  LoadParams params;
  params.any_numerics = true;
  for (const bool out : {true, false}) {
    const auto session = MakeSession(out ? here : there, 256, 48);
    ASSERT_TRUE(session->Append(Ids(0, 131)).ok());
    ASSERT_TRUE(session->Save(fs, "/s").ok());
    EXPECT_FALSE(Session::Load(out ? there : here, fs, "/s").ok());
    const auto loaded = Session::Load(out ? there : here, fs, "/s", params);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(SameBits(LogitsOf(**loaded), LogitsOf(*session)));
    ASSERT_TRUE((*loaded)->Append(Ids(131, 19)).ok());
    ASSERT_TRUE(session->Append(Ids(131, 19)).ok());
    ExpectNear(LogitsOf(**loaded), LogitsOf(*session), 5e-2f);
  }
}

}  // namespace
}  // namespace rill::test
