// Every file operation and every allocation of a save, flush, open and compaction fails in turn: an
// error, the old or the new content, nothing left behind.
#include <functional>
#include <new>
#include <string>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/tools.h"
#include "tests/support/counting_alloc.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"

namespace rill {
namespace {

using test::Difference;
using test::FailingAllocation;
using test::FakeTimeline;
using test::Fault;
using test::FaultyFileSystem;
using test::FileOp;
using test::LoggedOp;
using test::MemoryFileSystem;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";

// A file in memory and the session that has gone on since.
struct Bench {
  MemoryFileSystem memory;
  FakeTimeline before{SmallGeometry()}, after{SmallGeometry()};

  explicit Bench(bool with_file = true) {
    test::Random random(7);  // the same operations every time
    before.AppendRandom(random, 9);
    before.Mark();
    before.AppendRandom(random, 4);
    before.user_blob = "before";
    if (with_file) {
      EXPECT_TRUE(Save(memory, before).ok());
    }
    after = before;
    after.Rewind(11);
    after.AppendRandom(random, 8);
    after.Mark();
    after.user_blob = "after";
    after.generation = "g";
  }

  static absl::Status Save(FileSystem& fs, FakeTimeline& timeline) {
    return SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), timeline.Content());
  }
};

absl::Status OpenAndFlush(FileSystem& fs, FakeTimeline& timeline) {
  const auto file = SessionFile::Open(fs, kPath);
  if (!file.ok()) return file.status();
  return AttachedSessionFile::Attach(fs, kPath, **file)->Flush(timeline.Content()).status();
}

enum class Found { kNothing, kBefore, kAfter, kElse };

Found Look(Bench& bench) {
  const auto file = SessionFile::Open(bench.memory, kPath);
  if (absl::IsNotFound(file.status())) return Found::kNothing;
  if (!file.ok()) return Found::kElse;
  const SessionContent content = (*file)->content();
  const auto is = [&](FakeTimeline& timeline) {
    return Difference(SmallGeometry(), content, timeline.Content(), false).empty();
  };
  return is(bench.after) ? Found::kAfter : is(bench.before) ? Found::kBefore : Found::kElse;
}

using Work = std::function<absl::Status(FileSystem&, Bench&)>;

const Work kSave = [](FileSystem& fs, Bench& bench) { return Bench::Save(fs, bench.after); };
const Work kFlush = [](FileSystem& fs, Bench& bench) { return OpenAndFlush(fs, bench.after); };
const Work kCompact = [](FileSystem& fs, Bench&) {
  return CompactSessionFile(fs, kPath, kPath).status();
};
const Work kOpen = [](FileSystem& fs, Bench&) { return SessionFile::Open(fs, kPath).status(); };

// Operation n fails, then n + 1, until none is left; once, and from n on. Returns how many.
int64_t SweepOperations(const Work& work, bool with_file, Found old_content, Found new_content) {
  for (int64_t n = 0;; ++n) {
    for (bool forever : {false, true}) {
      Bench bench(with_file);
      FaultyFileSystem fs(bench.memory, Fault{n, absl::StatusCode::kResourceExhausted, forever});
      const absl::Status status = work(fs, bench);
      if (fs.operations() <= n) {
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_EQ(Look(bench), new_content);
        return n;
      }
      const LoggedOp failed = fs.Log()[static_cast<size_t>(n)];
      const bool optional = failed.kind == FileOp::kList;  // looking for old temporary files
      const std::string what = std::string(Name(failed.kind)) + " " + std::to_string(n);
      if (!optional || forever) {
        EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << what << status;
        EXPECT_TRUE(Says(status, FaultyFileSystem::kMessage)) << what;
      }
      const Found found = Look(bench);
      EXPECT_TRUE(found == old_content || found == new_content) << what;
      if (!forever) {
        EXPECT_LE(bench.memory.Paths().size(), found == Found::kNothing ? 0u : 1u) << what;
      }
    }
  }
}

TEST(SessionFileFailureTest, EveryOperationOfASave) {
  EXPECT_GE(SweepOperations(kSave, true, Found::kBefore, Found::kAfter), 10);
  EXPECT_GE(SweepOperations(kSave, false, Found::kNothing, Found::kAfter), 10);
}

TEST(SessionFileFailureTest, EveryOperationOfAFlush) {
  EXPECT_GE(SweepOperations(kFlush, true, Found::kBefore, Found::kAfter), 15);
}

TEST(SessionFileFailureTest, EveryOperationOfAnOpenAndACompaction) {
  EXPECT_GE(SweepOperations(kOpen, true, Found::kBefore, Found::kBefore), 3);
  EXPECT_GE(SweepOperations(kCompact, true, Found::kBefore, Found::kBefore), 13);
}

// A flush that failed leaves the object spent; no sync is tried again, and a new save heals it.
TEST(SessionFileFailureTest, AfterAFailedFlushNothingIsTriedAgain) {
  for (int64_t n = 0;; ++n) {
    Bench bench;
    FaultyFileSystem fs(bench.memory);
    const auto file = SessionFile::Open(bench.memory, kPath);
    ASSERT_TRUE(file.ok());
    const auto attached = AttachedSessionFile::Attach(fs, kPath, **file);
    fs.SetFault({n, absl::StatusCode::kUnavailable});
    const auto first = attached->Flush(bench.after.Content());
    if (fs.operations() <= n) {
      EXPECT_TRUE(first.ok());
      EXPECT_GE(n, 12);
      break;
    }
    ASSERT_FALSE(first.ok());
    EXPECT_EQ(attached->health(), first.status());
    const int64_t operations = fs.operations();
    const std::string bytes = bench.memory.Get(kPath);
    const absl::Status second = attached->Flush(bench.after.Content()).status();
    EXPECT_TRUE(absl::IsUnavailable(second)) << second;
    EXPECT_TRUE(Says(second, "save the session anew"));
    EXPECT_EQ(fs.operations(), operations);
    EXPECT_EQ(bench.memory.Get(kPath), bytes);
    EXPECT_TRUE(Bench::Save(bench.memory, bench.after).ok());
    EXPECT_EQ(Look(bench), Found::kAfter);
  }
}

// As above for memory. Some of it is asked for in the file system itself, which is a failed
// operation without a status.
int64_t SweepAllocations(const Work& work, Found old_content, Found new_content) {
  for (int64_t n = 0;; ++n) {
    for (bool forever : {false, true}) {
      Bench bench;
      bench.before.Content();
      bench.after.Content();
      bool refused = false, happened = false;
      {
        FailingAllocation failing(static_cast<uint64_t>(n), forever);
        try {
          refused = !work(bench.memory, bench).ok();
        } catch (const std::bad_alloc&) {
          refused = true;
        }
        happened = failing.happened();
      }
      const Found found = Look(bench);
      if (!happened) {
        EXPECT_FALSE(refused);
        EXPECT_EQ(found, new_content);
        return n;
      }
      EXPECT_TRUE(found == old_content || found == new_content) << n;
      EXPECT_TRUE(refused || found == new_content) << n;
      EXPECT_EQ(bench.memory.Paths().size(), 1u) << n;
    }
  }
}

TEST(SessionFileFailureTest, EveryAllocation) {
  EXPECT_GE(SweepAllocations(kSave, Found::kBefore, Found::kAfter), 20);
  EXPECT_GE(SweepAllocations(kFlush, Found::kBefore, Found::kAfter), 40);
  EXPECT_GE(SweepAllocations(kOpen, Found::kBefore, Found::kBefore), 15);
  EXPECT_GE(SweepAllocations(kCompact, Found::kBefore, Found::kBefore), 30);
}

}  // namespace
}  // namespace rill
