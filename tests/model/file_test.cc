// The POSIX file system: what it promises and how it says what went wrong.
#include "model/io/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/says.h"
#include "tests/support/temp_dir.h"

namespace rill {
namespace {

using test::Says;

class FileTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return dir_ / name; }
  using Names = std::set<std::string>;
  Names Listed() {
    const auto names = fs_.List(dir_.path());
    return names.ok() ? Names(names->begin(), names->end()) : Names{names.status().ToString()};
  }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  FileSystem& fs_ = *FileSystem::Posix();
  test::TempDir dir_;
};

TEST_F(FileTest, WritesReadsAndUpdates) {
  auto created = fs_.CreateNew(Path("a"));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE((*created)->WriteAt(0, "hello", 5).ok());
  EXPECT_TRUE((*created)->WriteAt(8, "there", 5).ok());  // the gap reads as zeros
  EXPECT_TRUE((*created)->Sync().ok());
  EXPECT_TRUE((*created)->Close().ok());
  auto updated = fs_.OpenForUpdate(Path("a"));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_TRUE((*updated)->WriteAt(0, "J", 1).ok());
  EXPECT_TRUE((*updated)->Truncate(12).ok());
  EXPECT_TRUE((*updated)->Close().ok());
  const auto whole = ReadWholeFile(fs_, Path("a"), 12);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*whole, std::string("Jello\0\0\0ther", 12));
  EXPECT_EQ(*fs_.FileSize(Path("a")), 12u);
}

TEST_F(FileTest, NewFilesAreTheirOwnersAlone) {
  ASSERT_TRUE(fs_.CreateNew(Path("a")).ok());
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(FileTest, DescriptorsAreNotInherited) {
  const auto file = fs_.CreateNew(Path("a"));
  ASSERT_TRUE(file.ok());
  struct stat wanted;
  ASSERT_EQ(stat(Path("a").c_str(), &wanted), 0);
  int found = 0;
  for (int fd = 0; fd < 256; ++fd) {
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_ino != wanted.st_ino) continue;
    ++found;
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(FileTest, ErrorsNamePathOperationAndReason) {
  const auto missing = fs_.OpenForReading(Path("none")).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_EQ(Message(missing), Path("none") + ": open: No such file or directory");
  ASSERT_TRUE(fs_.CreateNew(Path("a")).ok());
  const auto taken = fs_.CreateNew(Path("a")).status();
  EXPECT_TRUE(absl::IsAlreadyExists(taken));
  EXPECT_EQ(Message(taken), Path("a") + ": create: File exists");
  EXPECT_TRUE(absl::IsNotFound(fs_.OpenForUpdate(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(fs_.Rename(Path("none"), Path("b"))));
  EXPECT_TRUE(absl::IsNotFound(fs_.Remove(Path("none"))));
  EXPECT_TRUE(absl::IsNotFound(fs_.List(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(fs_.FileSize(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(fs_.SyncDirectory(Path("none"))));
  EXPECT_TRUE(absl::IsNotFound(fs_.OpenForReading(Path("a/b")).status())) << "a is no folder";
}

TEST_F(FileTest, OnlyRegularFilesAreRead) {
  const auto folder = fs_.OpenForReading(dir_.path()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(folder)) << folder;
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  const auto pipe = fs_.OpenForReading(Path("pipe")).status();  // and does not wait for a writer
  EXPECT_TRUE(absl::IsInvalidArgument(pipe)) << pipe;
  EXPECT_TRUE(Says(pipe, "not a regular file"));
}

TEST_F(FileTest, AShortFileIsDataLoss) {
  test::WriteFile(Path("a"), "0123456789");
  const auto file = fs_.OpenForReading(Path("a"));
  ASSERT_TRUE(file.ok());
  char buffer[8];
  EXPECT_TRUE((*file)->ReadAt(2, buffer, 8).ok());
  EXPECT_EQ(std::memcmp(buffer, "23456789", 8), 0);
  const absl::Status status = (*file)->ReadAt(3, buffer, 8);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_TRUE(Says(status, "ends at 10, 8 bytes at 3"));
  EXPECT_TRUE(absl::IsDataLoss((*file)->ReadAt(100, buffer, 1)));
  ASSERT_EQ(truncate(Path("a").c_str(), 4), 0);  // it shrinks while it is open
  EXPECT_TRUE(absl::IsDataLoss((*file)->ReadAt(2, buffer, 8)));
  EXPECT_EQ((*file)->size(), 10u) << "when it was opened";
}

TEST_F(FileTest, Maps) {
  std::string bytes(40000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  test::WriteFile(Path("a"), bytes);
  const auto file = fs_.OpenForReading(Path("a"));
  ASSERT_TRUE(file.ok());
  const auto region = (*file)->Map(16384, 20000);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ((*region)->size(), 20000u);
  EXPECT_EQ(std::memcmp((*region)->data(), bytes.data() + 16384, 20000), 0);
  (*region)->WillNeed(5000, 100000);
  (*region)->WillNeed(20001, 1);
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Map(4096, 100).status())) << "not 16 KiB";
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Map(0, 0).status()));
  EXPECT_TRUE(absl::IsDataLoss((*file)->Map(0, 40001).status())) << "touching it would be SIGBUS";
  EXPECT_TRUE(absl::IsDataLoss((*file)->Map(16384, ~uint64_t{0}).status())) << "overflow";
}

TEST_F(FileTest, RenamesListsRemoves) {
  test::WriteFile(Path("a"), "new");
  test::WriteFile(Path("b"), "old");
  EXPECT_EQ(Listed(), (Names{"a", "b"}));
  EXPECT_TRUE(fs_.Rename(Path("a"), Path("b")).ok());
  EXPECT_TRUE(fs_.SyncDirectory(dir_.path()).ok());
  EXPECT_EQ(Listed(), (Names{"b"}));
  EXPECT_EQ(*ReadWholeFile(fs_, Path("b"), 100), "new");
  EXPECT_TRUE(fs_.Remove(Path("b")).ok());
  EXPECT_EQ(Listed(), (Names{}));
  EXPECT_TRUE(fs_.IsDirectory(dir_.path()));
  EXPECT_FALSE(fs_.IsDirectory(Path("b")));
}

// A limit on file size stands for a full disk: the system answers EFBIG after a short write.
TEST_F(FileTest, NoSpaceIsResourceExhausted) {
  struct rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {10000, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string bytes(20000, 'x');
  auto file = fs_.CreateNew(Path("a"));
  const absl::Status status = file.ok() ? (*file)->WriteAt(0, bytes.data(), 20000) : file.status();
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(Says(status, "write: File too large"));
}

TEST_F(FileTest, OffsetsPastFourGigabytes) {
  const uint64_t far = (uint64_t{5} << 30) + 3;
  auto created = fs_.CreateNew(Path("a"));  // a hole, not five gigabytes
  ASSERT_TRUE(created.ok());
  ASSERT_TRUE((*created)->WriteAt(far, "far", 3).ok());
  ASSERT_TRUE((*created)->Close().ok());
  const auto file = fs_.OpenForReading(Path("a"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->size(), far + 3);
  char buffer[3];
  ASSERT_TRUE((*file)->ReadAt(far, buffer, 3).ok());
  EXPECT_EQ(std::memcmp(buffer, "far", 3), 0);
}

TEST_F(FileTest, ReadWholeFileHasALimit) {
  test::WriteFile(Path("a"), "0123456789");
  const absl::Status status = ReadWholeFile(fs_, Path("a"), 9).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(Says(status, "10 bytes, more than the 9"));
  test::WriteFile(Path("empty"), "");
  EXPECT_EQ(*ReadWholeFile(fs_, Path("empty"), 0), "");
}

TEST(PathTest, JoinsAndSplits) {
  EXPECT_EQ(JoinPath("a/b", "c"), "a/b/c");
  EXPECT_EQ(JoinPath("a/b/", "c"), "a/b/c");
  EXPECT_EQ(JoinPath("", "c"), "c");
  EXPECT_EQ(JoinPath("/", "c"), "/c");
  EXPECT_EQ(DirectoryOf("a/b/c"), "a/b");
  EXPECT_EQ(DirectoryOf("/c"), "/");
  EXPECT_EQ(DirectoryOf("c"), ".");
}

}  // namespace
}  // namespace rill
