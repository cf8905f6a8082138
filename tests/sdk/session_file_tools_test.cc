// inspect, verify, compact, diff; and what a file of another model is refused with.
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/tools.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"

namespace rill {
namespace {

using test::Difference;
using test::FakeTimeline;
using test::MemoryFileSystem;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";
constexpr char kOther[] = "/d/other.rillstate";

// A life with rewinds, flushed turn by turn.
void WriteLife(FileSystem& fs, FakeTimeline& timeline, test::Random& random) {
  timeline.AppendRandom(random, 11);
  timeline.user_blob = "blob";
  auto attached =
      AttachedSessionFile::Create(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content());
  ASSERT_TRUE(attached.ok());
  for (int turn = 0; turn < 6; ++turn) {
    const uint64_t low = turn % 2 == 0 ? timeline.position() : timeline.position() - 7;
    timeline.Rewind(low);
    timeline.Mark();
    timeline.AppendRandom(random, random.Int(3, 12));
    timeline.generation.assign(static_cast<size_t>(turn + 1), 'g');
    FlushOptions options;
    options.with_ladder = options.with_ring = true;
    options.stable_prefix = low;
    ASSERT_TRUE((*attached)->Flush(timeline.Content(), options).ok());
  }
}

TEST(SessionFileToolsTest, ACompactedFileIsTheOneThatASaveWrites) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  WriteLife(fs, timeline, random);
  ASSERT_TRUE(
      SaveSessionFile(fs, kOther, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  const std::string flushed = fs.Get(kPath);
  const auto report = CompactSessionFile(fs, kPath, kPath);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(fs.Get(kPath), fs.Get(kOther));
  EXPECT_LT(report->file_bytes, flushed.size());
}

TEST(SessionFileToolsTest, TheProgressOfAVerifyEndsAtItsTotalAndCanBeStoppedAnywhere) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  WriteLife(fs, timeline, random);
  const uint64_t size = fs.Get(kPath).size();
  int64_t calls = 0;
  uint64_t last = 0;
  const auto watch = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, size);
    EXPECT_GE(done, last);
    last = done;
    ++calls;
    return false;
  };
  ASSERT_TRUE(VerifySessionFile(fs, kPath, watch).ok());
  EXPECT_EQ(last, size);
  ASSERT_GT(calls, 20);
  for (int64_t n = 0; n < calls; ++n) {
    int64_t asked = 0;
    const auto stop = [&](uint64_t, uint64_t) { return asked++ == n; };
    EXPECT_TRUE(absl::IsCancelled(VerifySessionFile(fs, kPath, stop))) << n;
    EXPECT_EQ(asked, n + 1);
  }
}

TEST(SessionFileToolsTest, InspectTellsEverySegmentAndWhatIsSuperseded) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  WriteLife(fs, timeline, random);
  const auto info = InspectSessionFile(fs, kPath);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->identity, SomeIdentity());
  EXPECT_EQ(info->geometry, SmallGeometry());
  EXPECT_EQ(info->generation, 7u);
  EXPECT_EQ(info->position, timeline.position());
  EXPECT_EQ(info->file_bytes, fs.Get(kPath).size());
  EXPECT_EQ(info->slack, 0u);
  EXPECT_FALSE(info->unfinished_flush);
  EXPECT_TRUE(info->has_logits);
  EXPECT_EQ(info->roots[0].generation, 7u);
  EXPECT_EQ(info->roots[1].generation, 6u);
  const auto file = SessionFile::Open(fs, kPath);
  const auto attached = AttachedSessionFile::Attach(fs, kPath, **file);
  EXPECT_EQ(info->superseded, attached->superseded());
  EXPECT_GT(info->superseded, 16384u);
  uint64_t page_bytes = 0, token_bytes = 0, end = 0;
  for (const SessionSegment& segment : info->segments) {
    EXPECT_GE(segment.offset, end);
    end = segment.offset + segment.bytes;
    if (segment.kind == "pages") page_bytes += segment.live_bytes;
    if (segment.kind == "tokens") token_bytes += segment.live_bytes;
  }
  EXPECT_EQ(page_bytes, timeline.position() / 4 * 16384);
  EXPECT_EQ(token_bytes, timeline.position() * 4);
}

TEST(SessionFileToolsTest, AFileWithADamagedPageStillSaysWhatItIs) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 9);
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  uint64_t total = 0;
  const auto watch = [&](uint64_t done, uint64_t all) {
    total = all;
    return done > all;
  };
  EXPECT_TRUE(VerifySessionFile(fs, kPath, watch).ok());
  EXPECT_EQ(total, fs.Get(kPath).size());
  const auto cancel = [](uint64_t, uint64_t) { return true; };
  EXPECT_TRUE(absl::IsCancelled(VerifySessionFile(fs, kPath, cancel)));
  const auto info = InspectSessionFile(fs, kPath);
  ASSERT_TRUE(info.ok());
  ASSERT_EQ(info->segments[0].kind, "pages");
  const uint64_t at = info->segments[0].offset + 16384 + 77;
  fs.Poke(kPath, at, static_cast<char>(~fs.Get(kPath)[at]));
  const absl::Status status = VerifySessionFile(fs, kPath);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_TRUE(Says(status, "page 1 at " + std::to_string(at - 77) + ": checksum 0x"));
  EXPECT_TRUE(InspectSessionFile(fs, kPath).ok());
  EXPECT_TRUE(absl::IsDataLoss(CompactSessionFile(fs, kPath, kOther).status()));
  EXPECT_EQ(fs.Paths().size(), 1u);
}

TEST(SessionFileToolsTest, DiffSaysWhereTwoTimelinesPart) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 20);
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  timeline.Append(timeline.Content().tokens[0]);
  const int32_t last = timeline.Content().tokens[16];
  timeline.Rewind(16);
  timeline.Append((last + 1) % 17);
  SessionIdentity identity = SomeIdentity();
  identity.numerics = "cuda/3";
  identity.weights.fill(1);
  ASSERT_TRUE(SaveSessionFile(fs, kOther, identity, SmallGeometry(), timeline.Content()).ok());
  const auto difference = DiffSessionFiles(fs, kPath, kOther);
  ASSERT_TRUE(difference.ok()) << difference.status();
  EXPECT_EQ(difference->common_tokens, 16u);
  EXPECT_EQ(difference->tokens_a, 20u);
  EXPECT_EQ(difference->tokens_b, 17u);
  EXPECT_EQ(difference->identity, (std::vector<std::string>{"weights", "numerics"}));
}

TEST(SessionFileToolsTest, EveryIdentityFieldIsRefusedByItsOwnName) {
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  using Change = std::function<void(SessionIdentity&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"architecture", [](SessionIdentity& i) { i.architecture[31] ^= 1; }},
      {"tokenizer", [](SessionIdentity& i) { i.tokenizer[0] ^= 1; }},
      {"weights", [](SessionIdentity& i) { i.weights[7] ^= 1; }},
      {"quantization", [](SessionIdentity& i) { i.quantization = "q4"; }},
      {"state_layout", [](SessionIdentity& i) { i.state_layout += "x"; }},
      {"numerics", [](SessionIdentity& i) { i.numerics.clear(); }},
  };
  for (const auto& [name, change] : changes) {
    SessionIdentity expected = SomeIdentity();
    change(expected);
    OpenSessionOptions options;
    options.identity = &expected;
    const absl::Status status = SessionFile::Open(fs, kPath, options).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(MismatchedField(status), name);
    EXPECT_TRUE(Says(status, "another " + name));
  }
  const SessionIdentity same = SomeIdentity();
  OpenSessionOptions options;
  options.identity = &same;
  EXPECT_TRUE(SessionFile::Open(fs, kPath, options).ok());
}

TEST(SessionFileToolsTest, EveryGeometryFieldIsRefusedByItsOwnNameAndSoIsAVersion) {
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  using Change = std::function<void(SessionGeometry&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"page_tokens", [](SessionGeometry& g) { g.page_tokens = 8; }},
      {"vocab_size", [](SessionGeometry& g) { g.vocab_size = 18; }},
      {"page_bytes", [](SessionGeometry& g) { g.page_bytes *= 2; }},
      {"fixed_bytes", [](SessionGeometry& g) { g.fixed_bytes += 4; }},
      {"ring_slots", [](SessionGeometry& g) { g.ring_slots = 1; }},
      {"ring_bytes", [](SessionGeometry& g) { g.ring_bytes = 1; }},
      {"mla_dtype", [](SessionGeometry& g) { g.mla_dtype = "f32"; }},
  };
  for (const auto& [name, change] : changes) {
    SessionGeometry expected = SmallGeometry();
    change(expected);
    OpenSessionOptions options;
    options.geometry = &expected;
    const absl::Status status = SessionFile::Open(fs, kPath, options).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(MismatchedField(status), name);
  }
  for (uint64_t at : {8, 10}) {
    MemoryFileSystem newer;
    newer.Put(kPath, fs.Get(kPath));
    newer.Poke(kPath, at, 2);
    const absl::Status status = SessionFile::Open(newer, kPath).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(MismatchedField(status), "");
    EXPECT_TRUE(Says(status, "this build reads 1.0 to 1.0"));
  }
}

TEST(SessionFileToolsTest, LimitsAreNamedWithBothNumbers) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 20);
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content()).ok());
  OpenSessionOptions options;
  options.max_tokens = 19;
  const absl::Status status = SessionFile::Open(fs, kPath, options).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(Says(status, "20 tokens, at most 19"));
}

}  // namespace
}  // namespace rill
