// Attached files: whatever a session did, a flush makes the file equal to it, at the price of what
// is new.
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/session_file.h"
#include "sdk/session_file/tools.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"
#include "tests/support/temp_dir.h"

namespace rill {
namespace {

using test::Difference;
using test::FakeTimeline;
using test::FaultyFileSystem;
using test::FileOp;
using test::MemoryFileSystem;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";
constexpr char kOther[] = "/d/other.rillstate";

std::unique_ptr<AttachedSessionFile> MustCreate(FileSystem& fs, FakeTimeline& timeline) {
  auto attached =
      AttachedSessionFile::Create(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content());
  EXPECT_TRUE(attached.ok()) << attached.status();
  return attached.ok() ? *std::move(attached) : nullptr;
}

// "" when the file at kPath, read with every check, is the timeline.
std::string FileDifference(FileSystem& fs, FakeTimeline& timeline, bool whole = true) {
  const auto file = SessionFile::Open(fs, kPath);
  if (!file.ok()) return std::string(file.status().message());
  return Difference(SmallGeometry(), (*file)->content(), timeline.Content(), whole);
}

// One random thing that happens to a session. `low` follows the lowest position it went back to.
void Live(FakeTimeline& timeline, test::Random& random, uint64_t* low) {
  switch (random.Int(0, 5)) {
    case 0: {
      const auto back =
          static_cast<uint64_t>(random.Int(0, static_cast<int64_t>(timeline.position())));
      timeline.Rewind(back);
      *low = std::min(*low, back);
      break;
    }
    case 1:
      timeline.Mark();
      break;
    case 2:
      timeline.user_blob.assign(static_cast<size_t>(random.Int(0, 5000)), 'u');
      break;
    case 3:
      timeline.generation.assign(static_cast<size_t>(random.Int(0, 100)), 'g');
      break;
    default:
      timeline.AppendRandom(random, random.Int(0, 14));
  }
}

TEST(AttachedSessionFileTest, RandomLivesEqualTheFile) {
  test::Random random;
  for (int life = 0; life < 40; ++life) {
    MemoryFileSystem fs;
    FakeTimeline timeline(SmallGeometry());
    auto attached = MustCreate(fs, timeline);
    uint64_t low = 0;
    for (int turn = 0; turn < 15; ++turn) {
      const int64_t events = random.Int(0, 4);
      for (int64_t i = 0; i < events; ++i) Live(timeline, random, &low);
      FlushOptions options;
      options.with_ladder = options.with_ring = true;
      options.stable_prefix = low;
      const auto report = attached->Flush(timeline.Content(), options);
      ASSERT_TRUE(report.ok()) << report.status();
      low = timeline.position();
      ASSERT_EQ(FileDifference(fs, timeline), "");
      EXPECT_EQ(report->file_bytes, fs.Get(kPath).size());
      EXPECT_EQ(attached->position(), timeline.position());
      if (random.Int(0, 3) == 0) {  // another process goes on
        const auto file = SessionFile::Open(fs, kPath);
        ASSERT_TRUE(file.ok());
        attached = AttachedSessionFile::Attach(fs, kPath, **file);
        EXPECT_EQ(attached->superseded(), report->superseded);
      }
    }
  }
}

TEST(AttachedSessionFileTest, NothingNewWritesNothing) {
  test::Random random;
  MemoryFileSystem memory;
  FaultyFileSystem fs(memory);
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 10);
  timeline.generation = "g";
  timeline.user_blob = "u";
  const auto attached = MustCreate(fs, timeline);
  const int64_t before = fs.operations();
  const auto report = attached->Flush(timeline.Content());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->total, 0u);
  EXPECT_EQ(report->generation, 1u);
  EXPECT_EQ(fs.operations(), before);
}

TEST(AttachedSessionFileTest, AppendsOnlyWhatIsNew) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 10);  // two full pages of 4 and a half one
  timeline.user_blob = "u";
  const auto attached = MustCreate(fs, timeline);
  timeline.AppendRandom(random, 7);
  const auto report = attached->Flush(timeline.Content());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->kept_tokens, 10u);
  EXPECT_EQ(report->new_tokens, 7u);
  EXPECT_EQ(report->pages, 2 * 16384u);
  EXPECT_EQ(report->tokens, 7 * 4u);
  EXPECT_EQ(report->user_blob, 0u);
  EXPECT_EQ(report->superseded, 8 * 24u);  // the ring of the save
  EXPECT_EQ(report->generation, 2u);
}

// The other slot holds the session before the last turn: what a rewind of that turn wants.
TEST(AttachedSessionFileTest, TheFlushBeforeTheLastIsACheckpoint) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 10);
  const auto attached = MustCreate(fs, timeline);
  const auto previous = [&] {
    auto file = SessionFile::Open(fs, kPath);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  };
  EXPECT_EQ(previous()->previous(), nullptr) << "a save has nothing before it";
  FakeTimeline before = timeline;
  for (int turn = 0; turn < 3; ++turn) {
    timeline.AppendRandom(random, 1 + turn * 5);
    ASSERT_TRUE(attached->Flush(timeline.Content()).ok());
    const auto file = previous();
    ASSERT_NE(file->previous(), nullptr);
    const SessionContent& then = before.Content();
    EXPECT_EQ(file->previous()->position, then.tokens.size());
    EXPECT_EQ(file->previous()->fixed, then.fixed);
    EXPECT_EQ(file->previous()->logits, then.logits);
    EXPECT_TRUE(file->CheckPrevious().ok());
    before = timeline;
  }
  timeline.user_blob = "u";
  ASSERT_TRUE(attached->Flush(timeline.Content()).ok());
  EXPECT_EQ(previous()->previous(), nullptr) << "that is where the session stands";
  timeline.Rewind(9);
  timeline.AppendRandom(random, 30);
  FlushOptions options;
  options.stable_prefix = 9;
  ASSERT_TRUE(attached->Flush(timeline.Content(), options).ok());
  EXPECT_EQ(previous()->previous(), nullptr) << "of tokens that were taken back";
}

TEST(AttachedSessionFileTest, ADamagedCheckpointInTheOtherSlotIsFoundBeforeItIsUsed) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 10);
  const auto attached = MustCreate(fs, timeline);
  timeline.AppendRandom(random, 10);
  ASSERT_TRUE(attached->Flush(timeline.Content()).ok());
  OpenSessionOptions lazy;
  lazy.lazy = true;
  const auto whole = SessionFile::Open(fs, kPath, lazy);
  ASSERT_TRUE(whole.ok() && (*whole)->previous() != nullptr);
  const std::byte* const data = (*whole)->previous()->fixed.data();
  const auto at = static_cast<uint64_t>(data - (*whole)->parsed().image->data());
  fs.Poke(kPath, at, static_cast<char>(static_cast<char>(*data) ^ 1));
  EXPECT_TRUE(absl::IsDataLoss(SessionFile::Open(fs, kPath).status()));
  const auto damaged = SessionFile::Open(fs, kPath, lazy);
  ASSERT_TRUE(damaged.ok() && (*damaged)->previous() != nullptr);
  EXPECT_TRUE(Says((*damaged)->CheckPrevious(), "state slot A"));
}

TEST(AttachedSessionFileTest, ARewoundSessionSupersedesAndARungBehindItGoes) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 9);
  timeline.Mark();
  timeline.AppendRandom(random, 9);
  timeline.Mark();
  const auto attached = MustCreate(fs, timeline);
  timeline.Rewind(13);
  const auto report = attached->Flush(timeline.Content());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->pages, 0u);
  EXPECT_GT(report->superseded, 16384u);
  ASSERT_EQ(FileDifference(fs, timeline, false), "");
  const auto file = SessionFile::Open(fs, kPath);
  ASSERT_EQ((*file)->content().ladder.size(), 1u);
  EXPECT_EQ((*file)->content().ladder[0].position, 9u);
  EXPECT_EQ((*file)->content().ring.end, 0u);
}

TEST(AttachedSessionFileTest, BringsRungsAndRingThatTheSaveLeftOutAndOnlyOnce) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 9);
  timeline.Mark();
  timeline.AppendRandom(random, 3);
  SaveOptions bare;
  bare.with_ladder = bare.with_ring = false;
  auto attached = AttachedSessionFile::Create(fs, kPath, SomeIdentity(), SmallGeometry(),
                                              timeline.Content(), bare);
  ASSERT_TRUE(attached.ok());
  FlushOptions options;
  options.with_ladder = options.with_ring = true;
  const auto report = (*attached)->Flush(timeline.Content(), options);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->rungs, 0u);
  EXPECT_EQ(report->ring, 8 * 24u);
  EXPECT_EQ(report->pages, 0u);
  EXPECT_EQ(FileDifference(fs, timeline), "");
  const auto again = (*attached)->Flush(timeline.Content(), options);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->total, 0u);
}

TEST(AttachedSessionFileTest, TheSameTokensAgainAreWrittenAgainWhenTheSessionSaysSo) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry());
  timeline.AppendRandom(random, 20);
  const auto attached = MustCreate(fs, timeline);
  FlushOptions options;
  options.stable_prefix = 9;
  const auto report = attached->Flush(timeline.Content(), options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->kept_tokens, 9u);
  EXPECT_EQ(report->pages, 3 * 16384u);  // pages 2, 3, 4
  EXPECT_EQ(FileDifference(fs, timeline, false), "");
}

// The shape of the 48B model: 7 MLA layers of 576 bf16 a token, 44,892,160 bytes of state.
TEST(AttachedSessionFileTest, ATurnOf500TokensOfTheBigModelCostsLessThanItsBudget) {
  SessionGeometry g;
  g.page_tokens = 128;
  g.page_bytes = 128 * 8064;
  g.vocab_size = 163840;
  g.fixed_bytes = 44892160;
  g.mla_dtype = "bf16";
  test::Random random;
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 127);
  MemoryFileSystem fs;
  auto attached = AttachedSessionFile::Create(fs, kPath, SomeIdentity(), g, timeline.Content());
  ASSERT_TRUE(attached.ok()) << attached.status();
  for (int turn = 0; turn < 3; ++turn) {
    timeline.AppendRandom(random, 500);
    const auto report = (*attached)->Flush(timeline.Content());
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_LT(report->total - report->state, 4500000u);
    EXPECT_LT(report->state, g.fixed_bytes + g.page_bytes + 4 * g.vocab_size + 8192);
    RecordProperty("bytes_beside_the_slot", std::to_string(report->total - report->state));
  }
  const auto file = SessionFile::Open(fs, kPath);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Difference(g, (*file)->content(), timeline.Content()), "");
}

// rill-session looks at a file that rill-chat keeps current: never a signal, at worst a refusal.
TEST(AttachedSessionFileTest, AReaderBesideTheWriter) {
  test::Random random;
  test::TempDir dir;
  const std::string path = dir / "chat.rillstate";
  FileSystem& fs = *FileSystem::Posix();
  FakeTimeline timeline(SmallGeometry());
  auto attached =
      AttachedSessionFile::Create(fs, path, SomeIdentity(), SmallGeometry(), timeline.Content());
  ASSERT_TRUE(attached.ok());
  std::atomic<bool> done{false};
  int seen = 0, refused = 0;
  std::thread reader([&] {
    while (!done.load()) {
      const auto info = InspectSessionFile(fs, path);
      ++(info.ok() ? seen : refused);
      if (!info.ok()) {
        EXPECT_TRUE(absl::IsDataLoss(info.status())) << info.status();
      }
    }
  });
  FlushOptions options;
  options.durability = Durability::kNone;
  for (int turn = 0; turn < 400; ++turn) {
    if (timeline.position() > 40) timeline.Rewind(3);
    timeline.AppendRandom(random, 5);
    EXPECT_TRUE((*attached)->Flush(timeline.Content(), options).ok());
  }
  done = true;
  reader.join();
  EXPECT_GT(seen, 0);
  EXPECT_LT(refused, seen);
}

TEST(AttachedSessionFileTest, AFileThatSomebodyElseWroteIsLeftAlone) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(SmallGeometry()), other(SmallGeometry());
  timeline.AppendRandom(random, 10);
  other.AppendRandom(random, 11);
  const auto first = MustCreate(fs, timeline);
  const auto second = MustCreate(fs, other);
  const std::string theirs = fs.Get(kPath);
  timeline.AppendRandom(random, 10);
  const absl::Status status = first->Flush(timeline.Content()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "somebody else"));
  EXPECT_EQ(fs.Get(kPath), theirs);
  const absl::Status again = first->Flush(timeline.Content()).status();
  EXPECT_TRUE(absl::IsUnavailable(again)) << again;
  EXPECT_TRUE(Says(again, "somebody else"));
  other.AppendRandom(random, 3);
  EXPECT_TRUE(second->Flush(other.Content()).ok());
}

TEST(AttachedSessionFileTest, ACancelledFlushAndASourceThatFailsChangeNothing) {
  class Failing : public FakeTimeline {
   public:
    using FakeTimeline::FakeTimeline;
    int64_t fail_at = -1;
    absl::StatusOr<const std::byte*> Page(uint64_t index) override {
      if (fail_at >= 0 && fail_at-- == 0) return absl::UnavailableError("the device is lost");
      return FakeTimeline::Page(index);
    }
  };
  test::Random random;
  MemoryFileSystem fs;
  Failing timeline(SmallGeometry());
  timeline.AppendRandom(random, 10);
  const auto attached = MustCreate(fs, timeline);
  FakeTimeline before = timeline;
  timeline.AppendRandom(random, 11);
  const SessionContent content = timeline.Content();
  for (int64_t n = 0; n < 5; ++n) {
    FlushOptions options;
    int64_t asked = 0;
    options.progress = [&](uint64_t, uint64_t) { return asked++ == n; };
    EXPECT_TRUE(absl::IsCancelled(attached->Flush(content, options).status()));
    EXPECT_EQ(FileDifference(fs, before), "");
  }
  for (int64_t n = 0; n < 4; ++n) {  // the last is the page in progress, after the log is synced
    timeline.fail_at = n;
    EXPECT_TRUE(Says(attached->Flush(content).status(), "the device is lost"));
    EXPECT_EQ(FileDifference(fs, before), "");
  }
  EXPECT_TRUE(attached->health().ok());
  ASSERT_TRUE(attached->Flush(content).ok());
  EXPECT_EQ(FileDifference(fs, timeline, false), "");
}

}  // namespace
}  // namespace rill
