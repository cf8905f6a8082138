// What a save writes, an open gives back: random contents, every kind of file system, callbacks.
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "sdk/session_file/save.h"
#include "sdk/session_file/session_file.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"
#include "tests/support/temp_dir.h"

namespace rill {
namespace {

using test::Difference;
using test::FakeTimeline;
using test::MemoryFileSystem;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";

SessionGeometry RandomGeometry(test::Random& random) {
  SessionGeometry g;
  g.page_tokens = static_cast<uint32_t>(random.Int(1, 9));
  g.vocab_size = static_cast<uint32_t>(random.Int(1, 3000));
  g.page_bytes = 16384 * static_cast<uint64_t>(random.Int(0, 2));
  g.fixed_bytes = static_cast<uint64_t>(random.Int(0, 9000));
  g.ring_slots = static_cast<uint32_t>(random.Int(0, 9));
  g.ring_bytes = 24 * g.ring_slots;
  g.mla_dtype = g.page_bytes == 0 ? "" : "f32";
  return g;
}

void Fill(FakeTimeline& timeline, test::Random& random) {
  const int64_t parts = random.Int(0, 4);
  for (int64_t i = 0; i < parts; ++i) {
    timeline.AppendRandom(random, random.Int(0, 20));
    if (random.Int(0, 1) == 1) timeline.Mark();
  }
  timeline.generation = std::string(static_cast<size_t>(random.Int(0, 50)), 'g');
  timeline.user_blob = std::string(static_cast<size_t>(random.Int(0, 9000)), '\0');
  timeline.set_stage_rungs(random.Int(0, 1) == 1);
}

std::string ToCallback(const SessionGeometry& g, FakeTimeline& timeline) {
  std::string bytes;
  const auto append = [&](absl::Span<const std::byte> part) {
    bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    return absl::OkStatus();
  };
  EXPECT_TRUE(WriteSession(SomeIdentity(), g, timeline.Content(), {}, append).ok());
  return bytes;
}

TEST(SessionFileRoundTripTest, RandomContents) {
  test::Random random;
  for (int i = 0; i < 300; ++i) {
    const SessionGeometry g = RandomGeometry(random);
    FakeTimeline timeline(g);
    Fill(timeline, random);
    MemoryFileSystem fs;
    WriteReport report;
    ASSERT_TRUE(
        SaveSessionFile(fs, kPath, SomeIdentity(), g, timeline.Content(), {}, &report).ok());
    const auto file = SessionFile::Open(fs, kPath);
    ASSERT_TRUE(file.ok()) << file.status();
    timeline.set_stage_rungs(false);
    EXPECT_EQ(Difference(g, (*file)->content(), timeline.Content()), "");
    EXPECT_EQ((*file)->identity(), SomeIdentity());
    EXPECT_EQ((*file)->geometry(), g);
    EXPECT_EQ(report.file_bytes, fs.Get(kPath).size());
    const auto planned = SessionFileBytes(g, timeline.Content());
    ASSERT_TRUE(planned.ok());
    EXPECT_EQ(*planned, report.file_bytes);
    EXPECT_EQ(ToCallback(g, timeline), fs.Get(kPath));
  }
}

// A file system without mmap.
class UnmappedFileSystem : public MemoryFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    auto file = MemoryFileSystem::OpenForReading(path);
    if (!file.ok()) return file.status();
    return std::make_unique<Reader>(*std::move(file));
  }

 private:
  class Reader : public ReadableFile {
   public:
    explicit Reader(std::unique_ptr<ReadableFile> file) : file_(std::move(file)) {}
    uint64_t size() const override { return file_->size(); }
    absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
      return file_->ReadAt(offset, dst, bytes);
    }
    absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t, uint64_t) const override {
      return absl::UnimplementedError("no mmap");
    }

   private:
    std::unique_ptr<ReadableFile> file_;
  };
};

TEST(SessionFileRoundTripTest, WhereFilesCannotBeMappedTheyAreReadWithinALimit) {
  test::Random random;
  const SessionGeometry g = SmallGeometry();
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 23);
  UnmappedFileSystem fs;
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), g, timeline.Content()).ok());
  const auto file = SessionFile::Open(fs, kPath);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_FALSE((*file)->mapped());
  EXPECT_EQ(Difference(g, (*file)->content(), timeline.Content()), "");
  OpenSessionOptions options;
  options.max_copy_bytes = fs.Get(kPath).size() - 1;
  const absl::Status status = SessionFile::Open(fs, kPath, options).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(Says(status, std::to_string(options.max_copy_bytes)));
}

TEST(SessionFileRoundTripTest, PagesOfARealFileOutliveTheSessionFile) {
  test::Random random;
  test::TempDir dir;
  const std::string path = dir / "chat.rillstate";
  const SessionGeometry g = SmallGeometry();
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 4 * 7 + 1);
  ASSERT_TRUE(
      SaveSessionFile(*FileSystem::Posix(), path, SomeIdentity(), g, timeline.Content()).ok());
  std::shared_ptr<const void> memory;
  std::vector<const std::byte*> pages;
  {
    OpenSessionOptions options;
    options.lazy = true;
    const auto file = SessionFile::Open(*FileSystem::Posix(), path, options);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->mapped());
    memory = (*file)->memory();
    (*file)->Prefetch(0, 100);
    for (uint64_t i = 0; i < (*file)->full_pages(); ++i) {
      EXPECT_TRUE((*file)->CheckPage(i).ok());
      pages.push_back(*(*file)->Page(i));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(pages.back()) % 4096, 0u);
    }
    EXPECT_TRUE(absl::IsOutOfRange((*file)->Page(8).status()));
  }
  ASSERT_EQ(pages.size(), 7u);
  for (size_t i = 0; i < pages.size(); ++i)
    EXPECT_EQ(std::memcmp(pages[i], *timeline.Page(i), g.page_bytes), 0);
  EXPECT_EQ(dir.Names().size(), 1u);
}

TEST(SessionFileRoundTripTest, WithoutLadderAndRing) {
  test::Random random;
  const SessionGeometry g = SmallGeometry();
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 9);
  timeline.Mark();
  MemoryFileSystem fs;
  SaveOptions options;
  options.with_ladder = options.with_ring = false;
  ASSERT_TRUE(SaveSessionFile(fs, kPath, SomeIdentity(), g, timeline.Content(), options).ok());
  const auto file = SessionFile::Open(fs, kPath);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Difference(g, (*file)->content(), timeline.Content(), false), "");
  EXPECT_TRUE((*file)->content().ladder.empty());
  EXPECT_EQ((*file)->content().ring.end, 0u);
}

TEST(SessionFileRoundTripTest, ContentsThatCannotBeAreRefusedBeforeAnythingIsWritten) {
  test::Random random;
  const SessionGeometry g = SmallGeometry();
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 9);
  timeline.Mark();
  const SessionContent good = timeline.Content();
  MemoryFileSystem fs;
  const auto refused = [&](const SessionContent& content, absl::StatusCode code,
                           const std::string& text) {
    const absl::Status status = SaveSessionFile(fs, kPath, SomeIdentity(), g, content);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(Says(status, text));
    EXPECT_TRUE(fs.Paths().empty());
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  SessionContent bad = good;
  const int32_t token = 17;
  bad.tokens = absl::MakeConstSpan(&token, 1);
  refused(bad, invalid, "token 0 is 17");
  bad = good;
  bad.fixed.remove_suffix(1);
  refused(bad, invalid, "size of the state is 199, expected 200");
  bad = good;
  bad.logits.remove_suffix(1);
  refused(bad, invalid, "number of logits is 16, expected 17");
  bad = good;
  bad.source = nullptr;
  refused(bad, invalid, "no source");
  bad = good;
  bad.ring.end -= 1;
  refused(bad, invalid, "end of the ring is 8, expected 9");
  std::vector<RungContent> rungs(2, good.ladder[0]);
  bad = good;
  bad.ladder = rungs;
  refused(bad, invalid, "rung 1");
  const std::string blob(kMaxUserBlobBytes + 1, 'x');
  bad = good;
  bad.user_blob = blob;
  refused(bad, absl::StatusCode::kResourceExhausted, "user blob is 67108865, at most 67108864");
}

TEST(SessionFileRoundTripTest, TextsOfTheIdentityArePrintableAndFitTheirFields) {
  FakeTimeline timeline(SmallGeometry());
  const auto save = [&](const SessionIdentity& identity, SessionIdentity* read) {
    MemoryFileSystem fs;
    const absl::Status status =
        SaveSessionFile(fs, kPath, identity, SmallGeometry(), timeline.Content());
    if (!status.ok()) return status;
    const auto file = SessionFile::Open(fs, kPath);
    if (file.ok()) *read = (*file)->identity();
    return file.status();
  };
  SessionIdentity identity = SomeIdentity(), read;
  identity.quantization = std::string(62, ' ') + "~";
  identity.state_layout = "";
  identity.numerics = std::string(127, 'n');
  ASSERT_TRUE(save(identity, &read).ok());
  EXPECT_EQ(read, identity);
  for (const std::string& bad : {std::string(64, 'q'), std::string("tab\t"), std::string("\x7f"),
                                 std::string("\0", 1), std::string("\xc3\xa4")}) {
    identity = SomeIdentity();
    identity.quantization = bad;
    EXPECT_TRUE(absl::IsInvalidArgument(save(identity, &read)));
    EXPECT_TRUE(Says(save(identity, &read), "quantization has"));
  }
}

TEST(SessionFileRoundTripTest, ASourceThatChangesItsMindIsNoticed) {
  class Fickle : public FakeTimeline {
   public:
    using FakeTimeline::FakeTimeline;
    absl::StatusOr<const std::byte*> Page(uint64_t index) override {
      if (++calls_ == 9) {
        Rewind(30);
        Append(16);
        Append(0);
      }
      return FakeTimeline::Page(index);
    }

   private:
    int calls_ = 0;
  };
  test::Random random;
  const SessionGeometry g = SmallGeometry();
  Fickle timeline(g);
  timeline.AppendRandom(random, 31);
  const SessionContent content = timeline.Content();
  const auto ignore = [](absl::Span<const std::byte>) { return absl::OkStatus(); };
  const std::vector<int32_t> tokens(content.tokens.begin(), content.tokens.end());
  SessionContent steady = content;
  steady.tokens = tokens;
  EXPECT_TRUE(absl::IsAborted(WriteSession(SomeIdentity(), g, steady, {}, ignore)));
}

TEST(SessionFileRoundTripTest, EveryWriteCanBeCancelledAndAnErrorOfTheCallbackEndsIt) {
  test::Random random;
  const SessionGeometry g = SmallGeometry();
  FakeTimeline timeline(g);
  timeline.AppendRandom(random, 31);
  for (int n = 0;; ++n) {
    MemoryFileSystem fs;
    int asked = 0;
    uint64_t last = 0;
    SaveOptions options;
    options.progress = [&](uint64_t done, uint64_t total) {
      EXPECT_LE(last, done);
      EXPECT_LE(done, total);
      last = done;
      return asked++ == n;
    };
    const absl::Status status =
        SaveSessionFile(fs, kPath, SomeIdentity(), g, timeline.Content(), options);
    if (asked <= n) {
      EXPECT_TRUE(status.ok());
      EXPECT_GT(n, 10);
      break;
    }
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
    EXPECT_TRUE(fs.Paths().empty());
  }
  const auto full = [](absl::Span<const std::byte>) { return absl::UnavailableError("full"); };
  EXPECT_TRUE(Says(WriteSession(SomeIdentity(), g, timeline.Content(), {}, full), "full"));
}

}  // namespace
}  // namespace rill
