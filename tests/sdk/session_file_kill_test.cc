// A process that saves and flushes in a loop is killed at random moments; the file must hold what
// its last finished call wrote, or what the call that was running was writing.
//
// RILL_KILLS sets how many times (ctest runs 10,000 as sdk/session_file_kill_full).
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/session_file.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/temp_dir.h"

namespace rill {
namespace {

using test::Difference;
using test::FakeTimeline;
using test::SmallGeometry;
using test::SomeIdentity;

// What the child tells the parent, in memory that outlives it.
struct Shared {
  volatile uint64_t finished;  // number of the last call that returned
  volatile bool failed;        // a call answered an error
};

// The timeline that a file holds. Its user blob is the number of the call that wrote it.
FakeTimeline TimelineOf(const SessionContent& content) {
  FakeTimeline timeline(SmallGeometry());
  for (int32_t token : content.tokens) timeline.Append(token);
  timeline.user_blob = std::string(content.user_blob);
  timeline.generation = std::string(content.generation);
  return timeline;
}

uint64_t CallOf(const FakeTimeline& timeline) {
  return timeline.user_blob.empty() ? 0 : std::stoull(timeline.user_blob);
}

void NextTurn(FakeTimeline& timeline, test::Random& random) {
  if (timeline.position() > 40) timeline.Rewind(static_cast<uint64_t>(random.Int(0, 40)));
  timeline.AppendRandom(random, random.Int(0, 9));
  timeline.user_blob = std::to_string(CallOf(timeline) + 1);
  timeline.generation = std::string(static_cast<size_t>(random.Int(0, 99)), 'g');
}

// Saves and flushes until it is killed.
[[noreturn]] void Child(const std::string& path, uint64_t seed, Durability durability,
                        Shared* shared) {
  FileSystem& fs = *FileSystem::Posix();
  test::Random random(seed);
  FakeTimeline timeline(SmallGeometry());
  std::unique_ptr<AttachedSessionFile> attached;
  if (const auto file = SessionFile::Open(fs, path); file.ok()) {
    timeline = TimelineOf((*file)->content());
    attached = AttachedSessionFile::Attach(fs, path, **file);
  }
  for (;;) {
    NextTurn(timeline, random);
    absl::Status status;
    if (attached == nullptr || random.Int(0, 3) == 0) {
      SaveOptions options;
      options.durability = durability;
      auto created = AttachedSessionFile::Create(fs, path, SomeIdentity(), SmallGeometry(),
                                                 timeline.Content(), options);
      status = created.status();
      if (created.ok()) attached = *std::move(created);
    } else {
      FlushOptions options;
      options.durability = durability;
      status = attached->Flush(timeline.Content(), options).status();
    }
    if (!status.ok()) {
      shared->failed = true;
      _exit(1);
    }
    shared->finished = CallOf(timeline);
  }
}

// "" or what is wrong with the file after the child died.
std::string Verdict(const std::string& path, const Shared& shared) {
  const auto file = SessionFile::Open(*FileSystem::Posix(), path);
  if (absl::IsNotFound(file.status())) return shared.finished == 0 ? "" : "the file is gone";
  if (!file.ok()) return std::string(file.status().message());
  FakeTimeline timeline = TimelineOf((*file)->content());
  const uint64_t call = CallOf(timeline);
  if (call != shared.finished && call != shared.finished + 1) {
    return "holds call " + std::to_string(call) + ", the last that returned is " +
           std::to_string(shared.finished);
  }
  return Difference(SmallGeometry(), (*file)->content(), timeline.Content(), false);
}

void RunKills(int kills, int max_microseconds, Durability durability) {
  test::TempDir dir;
  const std::string path = dir / "chat.rillstate";
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* shared = new (memory) Shared{};
  test::Random random;
  int left_temps = 0, unfinished = 0;
  for (int i = 0; i < kills; ++i) {
    const uint64_t seed = random.Bits();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) Child(path, seed, durability, shared);
    usleep(static_cast<useconds_t>(random.Int(0, max_microseconds)));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    ASSERT_FALSE(shared->failed);
    ASSERT_EQ(Verdict(path, *shared), "") << "kill " << i;
    left_temps += dir.Names().size() > 1;
    if (const auto file = SessionFile::Open(*FileSystem::Posix(), path); file.ok()) {
      unfinished += (*file)->unfinished_flush();
      shared->finished = CallOf(TimelineOf((*file)->content()));
    }
  }
  EXPECT_GT(shared->finished, 10u);
  EXPECT_GT(left_temps, 0);  // or the moments were not random enough to mean anything
  if (kills >= 1000) {
    EXPECT_GT(unfinished, 0);
  }
  FakeTimeline timeline(SmallGeometry());
  ASSERT_TRUE(SaveSessionFile(*FileSystem::Posix(), path, SomeIdentity(), SmallGeometry(),
                              timeline.Content())
                  .ok());
  EXPECT_EQ(dir.Names().size(), 1u) << "temporary files of killed savers stay";
  std::printf("%d kills, %llu calls, %d left a temporary file, %d an unfinished flush\n", kills,
              static_cast<unsigned long long>(shared->finished), left_temps, unfinished);
  munmap(memory, sizeof(Shared));
}

int Kills() {
  const char* given = std::getenv("RILL_KILLS");
  return given != nullptr ? std::atoi(given) : 1000;
}

TEST(SessionFileKillTest, WithoutSyncs) { RunKills(Kills(), 3000, Durability::kNone); }

TEST(SessionFileKillTest, WithSyncs) { RunKills(200, 30000, Durability::kFull); }

}  // namespace
}  // namespace rill
