// A file that is old or new: every operation failed in turn, leftovers, and the order of syncs.
#include "model/io/atomic_write.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"

namespace rill {
namespace {

using test::Fault;
using test::FaultyFileSystem;
using test::FileOp;
using test::LoggedOp;
using test::MemoryFileSystem;

constexpr char kPath[] = "/d/file";

absl::Status Save(FileSystem& fs, const std::string& content) {
  auto file = AtomicFile::Create(fs, kPath);
  if (!file.ok()) return file.status();
  const size_t half = content.size() / 2;
  absl::Status status = (*file)->Append(content.data(), half);
  if (status.ok()) status = (*file)->WriteAt(half, content.data() + half, content.size() - half);
  if (status.ok()) status = (*file)->Commit();
  return status;
}

TEST(AtomicWriteTest, SyncsBeforeRenamingAndTheFolderAfter) {
  MemoryFileSystem memory;
  FaultyFileSystem fs(memory);
  ASSERT_TRUE(Save(fs, "content").ok());
  EXPECT_EQ(memory.Get(kPath), "content");
  std::vector<FileOp> order;
  for (const LoggedOp& op : fs.Log()) order.push_back(op.kind);
  EXPECT_EQ(order, (std::vector<FileOp>{FileOp::kList, FileOp::kCreate, FileOp::kWrite,
                                        FileOp::kWrite, FileOp::kSync, FileOp::kClose,
                                        FileOp::kRename, FileOp::kSyncDirectory}));
  EXPECT_EQ(fs.Log().back().path, "/d");
}

TEST(AtomicWriteTest, WaitsForWhatItIsAskedTo) {
  for (const Durability durability : {Durability::kNone, Durability::kData, Durability::kFull}) {
    MemoryFileSystem memory;
    FaultyFileSystem fs(memory);
    auto file = AtomicFile::Create(fs, kPath);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Append("content", 7).ok());
    ASSERT_TRUE((*file)->Commit(durability).ok());
    EXPECT_EQ(memory.Get(kPath), "content");
    EXPECT_EQ(fs.Count(FileOp::kSync), durability == Durability::kNone ? 0 : 1);
    EXPECT_EQ(fs.Count(FileOp::kSyncDirectory), durability == Durability::kFull ? 1 : 0);
  }
}

TEST(AtomicWriteTest, EveryFailureLeavesOldOrNewAndNoTemp) {
  int64_t operations = 0;
  for (int64_t n = 0;; ++n) {
    MemoryFileSystem memory;
    memory.Put(kPath, "old");
    FaultyFileSystem fs(memory, Fault{n, absl::StatusCode::kResourceExhausted});
    const absl::Status status = Save(fs, "the new content");
    if (fs.operations() <= n) break;  // the fault was not reached
    operations = n + 1;
    const LoggedOp failed = fs.Log()[n];
    const bool best_effort = failed.kind == FileOp::kList;
    EXPECT_EQ(status.ok(), best_effort) << Name(failed.kind);
    EXPECT_EQ(status.message(), best_effort ? "" : FaultyFileSystem::kMessage);
    const bool is_new = best_effort || failed.kind == FileOp::kSyncDirectory;
    EXPECT_EQ(memory.Get(kPath), is_new ? "the new content" : "old") << Name(failed.kind);
    EXPECT_EQ(memory.Paths(), std::vector<std::string>{kPath}) << Name(failed.kind);
    EXPECT_LE(fs.Count(FileOp::kSync), 1) << "a failed sync is not repeated";
  }
  EXPECT_EQ(operations, 8);
}

TEST(AtomicWriteTest, ADeadDiskKeepsTheOldFile) {
  for (int64_t n = 0; n < 7; ++n) {  // up to and including the rename
    MemoryFileSystem memory;
    memory.Put(kPath, "old");
    FaultyFileSystem fs(memory, Fault{n, absl::StatusCode::kUnavailable, /*forever=*/true});
    EXPECT_FALSE(Save(fs, "the new content").ok()) << n;
    EXPECT_EQ(memory.Get(kPath), "old") << n;
  }
}

TEST(AtomicWriteTest, WithoutCommitNothingHappens) {
  MemoryFileSystem memory;
  memory.Put(kPath, "old");
  {
    auto file = AtomicFile::Create(memory, kPath);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Append("new", 3).ok());
    EXPECT_EQ((*file)->size(), 3u);
    EXPECT_EQ(memory.Paths().size(), 2u);
  }
  EXPECT_EQ(memory.Paths(), std::vector<std::string>{kPath});
  EXPECT_EQ(memory.Get(kPath), "old");
}

TEST(AtomicWriteTest, AfterAnErrorOrCommitItIsSpent) {
  MemoryFileSystem memory;
  FaultyFileSystem fs(memory);
  auto file = AtomicFile::Create(fs, kPath);
  ASSERT_TRUE(file.ok());
  fs.SetFault({fs.operations()});
  EXPECT_FALSE((*file)->Append("new", 3).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition((*file)->Append("new", 3)));
  EXPECT_TRUE(absl::IsFailedPrecondition((*file)->Commit()));
  EXPECT_TRUE(memory.Paths().empty());
  auto second = AtomicFile::Create(memory, kPath);
  ASSERT_TRUE((*second)->Commit().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition((*second)->Append("x", 1)));
  EXPECT_TRUE(absl::IsFailedPrecondition((*second)->Commit()));
  EXPECT_EQ(memory.Paths(), std::vector<std::string>{kPath});
}

TEST(AtomicWriteTest, RemovesLeftoversOfTheSamePathOnly) {
  MemoryFileSystem memory;
  const std::vector<std::string> others = {"/d/file.tmp.0123456789abcde",    // too short
                                           "/d/file.tmp.0123456789abcdeF",   // not ours: capital
                                           "/d/file.tmp.0123456789abcdef0",  // too long
                                           "/d/other.tmp.0123456789abcdef",  // of another file
                                           "/e/file.tmp.0123456789abcdef",   // in another folder
                                           "/d/file.bak"};
  for (const std::string& path : others) memory.Put(path, "keep");
  memory.Put("/d/file.tmp.0123456789abcdef", "stale");
  memory.Put("/d/file.tmp.ffffffffffffffff", "stale");
  ASSERT_TRUE(Save(memory, "new").ok());
  EXPECT_EQ(memory.Paths().size(), others.size() + 1);
  for (const std::string& path : others) EXPECT_EQ(memory.Get(path), "keep") << path;
}

TEST(AtomicWriteTest, OfTwoWritersTheLaterWins) {
  MemoryFileSystem memory;
  auto first = AtomicFile::Create(memory, kPath);
  auto second = AtomicFile::Create(memory, kPath);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE((*first)->Append("first", 5).ok());
  ASSERT_TRUE((*second)->Append("second", 6).ok());
  EXPECT_TRUE((*second)->Commit().ok());
  EXPECT_TRUE(absl::IsNotFound((*first)->Commit()));
  EXPECT_EQ(memory.Get(kPath), "second");
  EXPECT_EQ(memory.Paths().size(), 1u);
}

}  // namespace
}  // namespace rill
