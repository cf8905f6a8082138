// Damage is noticed: every bit, every length, every word, every pair of parts of small files. What
// a damaged file is refused with is the same code for the same place.
//
// RILL_EVERY_BIT flips every bit of the larger file too (ctest: sdk/session_file_damage_full);
// without it one bit of each byte, drawn by lot.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/session_file.h"
#include "tests/support/buffer_fs.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"

namespace rill {
namespace {

using test::BufferFileSystem;
using test::FakeTimeline;
using test::MemoryFileSystem;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";

SessionGeometry WithoutPages() {
  SessionGeometry g = SmallGeometry();
  g.page_bytes = 0;
  g.mla_dtype = "";
  return g;
}

void Grow(FakeTimeline& timeline, test::Random& random, char letter) {
  timeline.AppendRandom(random, 3);
  timeline.Mark();
  timeline.AppendRandom(random, 3);
  timeline.generation.assign(33, letter);
  timeline.user_blob.assign(44, letter);
}

// Saved, and flushed so many times: no more than the first leaves a root and a slot of zeros.
std::string MakeFile(const SessionGeometry& geometry, int flushes) {
  test::Random random;
  MemoryFileSystem fs;
  FakeTimeline timeline(geometry);
  Grow(timeline, random, 'a');
  auto attached =
      AttachedSessionFile::Create(fs, kPath, SomeIdentity(), geometry, timeline.Content());
  EXPECT_TRUE(attached.ok()) << attached.status();
  for (int i = 0; i < flushes; ++i) {
    timeline.Rewind(5);
    Grow(timeline, random, static_cast<char>('b' + i));
    FlushOptions options;
    options.with_ladder = options.with_ring = true;
    EXPECT_TRUE((*attached)->Flush(timeline.Content(), options).ok());
  }
  return fs.Get(kPath);
}

absl::Status Open(BufferFileSystem& fs) { return SessionFile::Open(fs, kPath).status(); }

absl::StatusCode ExpectedCode(uint64_t offset) {
  if (offset < 8) return absl::StatusCode::kInvalidArgument;      // the magic
  if (offset < 12) return absl::StatusCode::kFailedPrecondition;  // the version
  return absl::StatusCode::kDataLoss;
}

struct Tally {
  int64_t cases = 0, accepted = 0, wrong_code = 0;
  std::string first;

  void Add(const absl::Status& status, absl::StatusCode expected, const std::string& what) {
    ++cases;
    if (status.code() == expected) return;
    ++(status.ok() ? accepted : wrong_code);
    if (first.empty()) first = what + ": " + status.ToString();
  }
  void Expect(int64_t at_least) const {
    EXPECT_EQ(accepted, 0) << first;
    EXPECT_EQ(wrong_code, 0) << first;
    EXPECT_GE(cases, at_least);
    std::printf("%lld cases refused\n", static_cast<long long>(cases));
  }
};

void FlipBits(const std::string& bytes, bool every_bit) {
  test::Random random;
  BufferFileSystem fs(bytes);
  ASSERT_TRUE(Open(fs).ok()) << Open(fs);
  Tally tally;
  for (uint64_t at = 0; at < bytes.size(); ++at) {
    const int64_t first = every_bit ? 0 : random.Int(0, 7), last = every_bit ? 7 : first;
    for (int64_t bit = first; bit <= last; ++bit) {
      fs.bytes()[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      tally.Add(Open(fs), ExpectedCode(at),
                "bit " + std::to_string(bit) + " of byte " + std::to_string(at));
    }
    fs.bytes()[at] = bytes[at];
  }
  tally.Expect(static_cast<int64_t>(bytes.size()) * (every_bit ? 8 : 1));
}

TEST(SessionFileDamageTest, EveryBitOfASavedFileWithoutPages) {
  const std::string bytes = MakeFile(WithoutPages(), 0);
  EXPECT_LE(bytes.size(), 64u << 10);
  FlipBits(bytes, true);
}

TEST(SessionFileDamageTest, BitsOfAFlushedFileWithPages) {
  FlipBits(MakeFile(SmallGeometry(), 2), std::getenv("RILL_EVERY_BIT") != nullptr);
}

TEST(SessionFileDamageTest, EveryLength) {
  for (int flushes : {0, 1, 2}) {
    const std::string bytes = MakeFile(WithoutPages(), flushes);
    BufferFileSystem fs(bytes);
    Tally tally;
    for (uint64_t size = 0; size < bytes.size(); ++size) {
      fs.set_size(size);
      const auto expected =
          size < 12 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss;
      tally.Add(Open(fs), expected, "length " + std::to_string(size));
    }
    tally.Expect(static_cast<int64_t>(bytes.size()));
    fs.set_size(bytes.size() - 1);
    EXPECT_TRUE(Says(Open(fs), std::to_string(bytes.size() - 1) + " bytes, expected " +
                                   std::to_string(bytes.size())));
  }
}

TEST(SessionFileDamageTest, EveryWordSetToWhatBreaksArithmetic) {
  for (int flushes : {0, 2}) {
    const std::string bytes = MakeFile(WithoutPages(), flushes);
    BufferFileSystem fs(bytes);
    Tally tally;
    for (uint64_t at = 0; at < bytes.size(); at += 4) {
      for (uint32_t word : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
        if (std::memcmp(bytes.data() + at, &word, 4) == 0) continue;
        std::memcpy(fs.bytes().data() + at, &word, 4);
        tally.Add(Open(fs), ExpectedCode(at),
                  "word at " + std::to_string(at) + " = " + std::to_string(word));
      }
      std::memcpy(fs.bytes().data() + at, bytes.data() + at, 4);
    }
    tally.Expect(static_cast<int64_t>(bytes.size()) / 4 * 3);
  }
}

struct Part {
  uint64_t offset, bytes;
};

// Header, roots, slots, and every record and directory of the log.
std::vector<Part> PartsOf(const SessionFile& file) {
  const session_file::ParsedFile& parsed = file.parsed();
  const uint64_t slot = parsed.state.layout.slot_bytes;
  std::vector<Part> parts = {{0, 4096}, {4096, 4096}, {8192, 4096}};
  for (int i : {0, 1}) parts.push_back({parsed.state.layout.slot(i), slot});
  for (const auto& batch : parsed.batches) {
    for (const auto& record : batch.records) parts.push_back({record.offset, record.bytes});
    parts.push_back({DirectoryOffset(batch), DirectoryBytes(batch)});
  }
  return parts;
}

TEST(SessionFileDamageTest, EveryPairOfPartsSwapped) {
  for (int flushes : {0, 1, 2}) {
    const std::string bytes = MakeFile(SmallGeometry(), flushes);
    BufferFileSystem fs(bytes);
    const auto file = SessionFile::Open(fs, kPath);
    ASSERT_TRUE(file.ok()) << file.status();
    const std::vector<Part> parts = PartsOf(**file);
    Tally tally;
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t j = i + 1; j < parts.size(); ++j) {
        const size_t n = std::min(parts[i].bytes, parts[j].bytes);
        char* a = fs.bytes().data() + parts[i].offset;
        char* b = fs.bytes().data() + parts[j].offset;
        if (std::memcmp(a, b, n) == 0) continue;
        std::swap_ranges(a, a + n, b);
        tally.Add(Open(fs),
                  i == 0 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss,
                  "parts at " + std::to_string(parts[i].offset) + " and " +
                      std::to_string(parts[j].offset));
        fs.bytes() = bytes;
      }
    }
    tally.Expect(50);
  }
}

// A lazy open looks at less, and what it leaves out is found when it is asked for.
TEST(SessionFileDamageTest, ALazyOpenLeavesOnlyWhatTheChecksFind) {
  const std::string bytes = MakeFile(SmallGeometry(), 0);
  BufferFileSystem fs(bytes);
  OpenSessionOptions lazy;
  lazy.lazy = true;
  const auto whole = SessionFile::Open(fs, kPath, lazy);
  ASSERT_TRUE(whole.ok());
  ASSERT_EQ((*whole)->full_pages(), 1u);
  const auto flip = [&](const void* at) {
    fs.bytes() = bytes;
    const uint64_t offset = static_cast<uint64_t>(static_cast<const char*>(at) - fs.bytes().data());
    fs.bytes()[offset] ^= 4;
    auto file = SessionFile::Open(fs, kPath, lazy);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(absl::IsDataLoss(Open(fs)));
    return *file;
  };
  const SessionContent content = (*whole)->content();
  EXPECT_TRUE((*whole)->CheckPage(0).ok());
  const auto page = flip(*(*whole)->Page(0))->CheckPage(0);
  EXPECT_TRUE(absl::IsDataLoss(page)) << page;
  EXPECT_TRUE(Says(page, "page 0 at "));
  const auto rung = flip(content.ladder[0].fixed.data())->CheckRung(0);
  EXPECT_TRUE(Says(rung, "rung at "));
  const auto ring = flip(content.ring.bytes.data())->CheckRing();
  EXPECT_TRUE(Says(ring, "ring at "));
  for (const void* at : {static_cast<const void*>(content.fixed.data()),
                         static_cast<const void*>(content.logits.data()),
                         static_cast<const void*>(content.user_blob.data())}) {
    fs.bytes() = bytes;
    fs.bytes()[static_cast<uint64_t>(static_cast<const char*>(at) - fs.bytes().data())] ^= 4;
    const absl::Status status = SessionFile::Open(fs, kPath, lazy).status();
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_TRUE(Says(status, "checksum 0x"));
  }
}

TEST(SessionFileDamageTest, OtherFilesAreNotSessionFiles) {
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(100000, '\0'),
                                   std::string("\x89RIL\r\n\x1a\n")}) {
    BufferFileSystem fs(bytes);
    const absl::Status status = Open(fs);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_TRUE(Says(status, "not a Rill session file"));
  }
}

}  // namespace
}  // namespace rill
