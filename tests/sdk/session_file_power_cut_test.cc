// Old or new, never between: every operation that a save or a flush makes, cut short by a power
// loss in every way that the disk's rules allow (tests/support/power_cut.h).
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/session_file.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/power_cut.h"
#include "tests/support/sabotage.h"

namespace rill {
namespace {

using test::Difference;
using test::FakeTimeline;
using test::FaultyFileSystem;
using test::Lie;
using test::MemoryFileSystem;
using test::PowerCut;
using test::SabotagedFileSystem;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";
constexpr int kRandomStates = 10000;

// One change of the file: from nothing or `before` to `after`.
struct Change {
  PowerCut::Tree disk;  // before it
  FakeTimeline before{SmallGeometry()}, after{SmallGeometry()};
  bool had_file = false;
  bool by_flush = false;
  bool damaged_before = false;  // the disk holds an unfinished flush
};

void Load(MemoryFileSystem& fs, const PowerCut::Tree& tree) {
  for (const auto& [path, bytes] : tree) fs.Put(path, bytes);
}

PowerCut::Tree TreeOf(const MemoryFileSystem& fs) {
  PowerCut::Tree tree;
  for (const std::string& path : fs.Paths()) tree[path] = fs.Get(path);
  return tree;
}

absl::Status Flush(FileSystem& fs, FakeTimeline& timeline) {
  const auto file = SessionFile::Open(fs, kPath);
  if (!file.ok()) return file.status();
  const auto attached = AttachedSessionFile::Attach(fs, kPath, **file);
  FlushOptions options;
  options.with_ladder = true;
  return attached->Flush(timeline.Content(), options).status();
}

absl::Status Make(FileSystem& fs, Change& change) {
  if (change.by_flush) return Flush(fs, change.after);
  return SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), change.after.Content());
}

// The change on a disk that tells the truth or lies, as a simulator of its power cuts.
PowerCut Simulate(Change& change, Lie lie = Lie::kNone) {
  MemoryFileSystem memory;
  Load(memory, change.disk);
  FaultyFileSystem logged(memory);
  SabotagedFileSystem fs(logged, lie);
  EXPECT_TRUE(Make(fs, change).ok());
  return PowerCut(change.disk, logged.Log());
}

// "" or what is wrong with a disk after the power came back. `finished`: the call had returned.
std::string Verdict(Change& change, const PowerCut::Tree& tree, bool finished) {
  MemoryFileSystem fs;
  Load(fs, tree);
  const auto file = SessionFile::Open(fs, kPath);
  if (absl::IsNotFound(file.status())) return change.had_file || finished ? "the file is gone" : "";
  if (!file.ok()) return "refused: " + std::string(file.status().message());
  const SessionContent content = (*file)->content();
  const std::string new_difference =
      Difference(SmallGeometry(), content, change.after.Content(), false);
  if (new_difference.empty()) return "";
  if (finished) return "not the new content after the call returned";
  if (!change.had_file) return "a file that is not the new one: " + new_difference;
  const std::string old = Difference(SmallGeometry(), content, change.before.Content(), false);
  return old.empty() ? "" : "between old and new: " + old + ", " + new_difference;
}

// Every prefix of the operations, unsynced data and names there or not; then random states.
// Returns how many are bad, and says the first.
int CountBad(Change& change, const PowerCut& disk, int random_states, test::Random& random,
             std::string* first) {
  int bad = 0;
  const auto judge = [&](const PowerCut::Tree& tree, size_t n) {
    const std::string verdict = Verdict(change, tree, n == disk.operations());
    if (verdict.empty()) return;
    if (bad++ == 0) *first = "after " + std::to_string(n) + " operations: " + verdict;
  };
  for (size_t n = 0; n <= disk.operations(); ++n) {
    for (bool data : {false, true})
      for (bool names : {false, true}) judge(disk.Cut(n, data, names), n);
  }
  for (int i = 0; i < random_states; ++i) {
    const auto n = static_cast<size_t>(random.Int(0, static_cast<int64_t>(disk.operations())));
    judge(disk.Cut(n, random), n);
  }
  return bad;
}

void Grow(FakeTimeline& timeline, test::Random& random) {
  timeline.AppendRandom(random, 4);
  timeline.Mark();
  timeline.AppendRandom(random, random.Int(1, 9));
  timeline.generation.assign(7, static_cast<char>(random.Int('a', 'z')));
}

Change FirstSave(test::Random& random) {
  Change change;
  Grow(change.after, random);
  return change;
}

Change SaveOver(test::Random& random) {
  Change change;
  Grow(change.before, random);
  MemoryFileSystem fs;
  EXPECT_TRUE(
      SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), change.before.Content()).ok());
  change.disk = TreeOf(fs);
  change.had_file = true;
  Grow(change.after, random);
  return change;
}

// The flush after `n` others.
Change FlushNumber(int n, bool rewind, test::Random& random) {
  Change change;
  Grow(change.before, random);
  MemoryFileSystem fs;
  EXPECT_TRUE(
      SaveSessionFile(fs, kPath, SomeIdentity(), SmallGeometry(), change.before.Content()).ok());
  for (int i = 0; i < n; ++i) {
    Grow(change.before, random);
    EXPECT_TRUE(Flush(fs, change.before).ok());
  }
  change.disk = TreeOf(fs);
  change.had_file = change.by_flush = true;
  change.after = change.before;
  if (rewind) change.after.Rewind(3);
  Grow(change.after, random);
  return change;
}

void ExpectSurvives(Change change, int random_states = kRandomStates) {
  test::Random random;
  const PowerCut disk = Simulate(change);
  EXPECT_GT(disk.operations(), 5u);
  std::string first;
  EXPECT_EQ(CountBad(change, disk, random_states, random, &first), 0) << first;
}

TEST(SessionFilePowerCutTest, FirstSave) {
  test::Random random;
  ExpectSurvives(FirstSave(random));
}

TEST(SessionFilePowerCutTest, SaveOverAnOlderFile) {
  test::Random random;
  ExpectSurvives(SaveOver(random));
}

TEST(SessionFilePowerCutTest, FlushOfEveryKind) {
  test::Random random;
  for (int n = 0; n < 3; ++n) {
    for (bool rewind : {false, true})
      ExpectSurvives(FlushNumber(n, rewind, random), kRandomStates / 6 + 1);
  }
}

// The power goes in a flush, and again in the first flush after that.
TEST(SessionFilePowerCutTest, FlushOnTopOfAnUnfinishedFlush) {
  test::Random random;
  int unfinished = 0;
  for (int i = 0; i < 120; ++i) {
    Change change = FlushNumber(static_cast<int>(random.Int(0, 2)), i % 2 == 1, random);
    const PowerCut first_cut = Simulate(change);
    const auto n =
        static_cast<size_t>(random.Int(1, static_cast<int64_t>(first_cut.operations()) - 1));
    change.disk = first_cut.Cut(n, random);
    MemoryFileSystem fs;
    Load(fs, change.disk);
    const auto file = SessionFile::Open(fs, kPath);
    ASSERT_TRUE(file.ok()) << file.status();
    unfinished += (*file)->unfinished_flush();
    if (!Difference(SmallGeometry(), (*file)->content(), change.before.Content(), false).empty())
      change.before = change.after;
    Grow(change.after, random);
    const PowerCut second_cut = Simulate(change);
    std::string first;
    EXPECT_EQ(CountBad(change, second_cut, 20, random, &first), 0) << first;
  }
  EXPECT_GT(unfinished, 12);
}

// The simulator must be able to fail: a disk that skips one step of the protocol is caught.
TEST(SessionFilePowerCutTest, EveryStepLeftOutIsNoticed) {
  test::Random random;
  const auto bad = [&](Change change, Lie lie) {
    std::string first;
    const PowerCut disk = Simulate(change, lie);
    return CountBad(change, disk, 500, random, &first);
  };
  for (Lie lie : {Lie::kNoSync, Lie::kRenameByCopying, Lie::kNoDirectorySync}) {
    EXPECT_GT(bad(SaveOver(random), lie), 0) << static_cast<int>(lie);
    if (lie == Lie::kRenameByCopying) continue;  // with nothing to write over it does no harm
    EXPECT_GT(bad(FirstSave(random), lie), 0) << static_cast<int>(lie);
  }
  for (Lie lie : {Lie::kNoSync, Lie::kNoFirstSync, Lie::kNoLaterSync}) {
    for (int n = 0; n < 2; ++n)
      EXPECT_GT(bad(FlushNumber(n, false, random), lie), 0) << static_cast<int>(lie);
  }
}

}  // namespace
}  // namespace rill
