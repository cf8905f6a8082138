// Files whose checksums are right and whose numbers are not: no crash, no allocation that a number
// asks for, and a refusal that says what cannot be.
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
#include "tests/support/session_repair.h"

namespace rill {
namespace {

using test::BufferFileSystem;
using test::Difference;
using test::FakeTimeline;
using test::MemoryFileSystem;
using test::RepairSessionFile;
using test::Says;
using test::SmallGeometry;
using test::SomeIdentity;

constexpr char kPath[] = "/d/chat.rillstate";
constexpr uint64_t kMany = ~uint64_t{0};

// Saved with 9 tokens, rewound to 6, flushed with 14: every kind of record, twice.
struct Sample {
  std::string bytes;
  std::vector<session_file::BatchDirectory> batches;
  uint64_t directory[2];

  explicit Sample(const SessionGeometry& geometry = SmallGeometry()) {
    test::Random random;
    MemoryFileSystem fs;
    FakeTimeline timeline(geometry);
    timeline.AppendRandom(random, 9);
    timeline.Mark();
    timeline.generation = timeline.user_blob = "before";
    auto attached =
        AttachedSessionFile::Create(fs, kPath, SomeIdentity(), geometry, timeline.Content());
    timeline.Rewind(6);
    timeline.AppendRandom(random, 4);
    timeline.Mark();
    timeline.AppendRandom(random, 4);
    timeline.Mark();
    timeline.generation = timeline.user_blob = "after it";
    FlushOptions options;
    options.with_ladder = options.with_ring = true;
    options.stable_prefix = 6;
    EXPECT_TRUE((*attached)->Flush(timeline.Content(), options).ok());
    bytes = fs.Get(kPath);
    const auto file = SessionFile::Open(fs, kPath);
    EXPECT_TRUE(file.ok()) << file.status();
    batches = (*file)->parsed().batches;
    for (int i : {0, 1}) directory[i] = DirectoryOffset(batches[i]);
  }

  // Where the table has the n-th record of this type in batch `i`.
  uint64_t RecordAt(int i, session_file::RecordType type) const {
    const auto& records = batches[i].records;
    for (size_t k = 0; k < records.size(); ++k)
      if (records[k].type == type) return directory[i] + 128 + 72 * k;
    ADD_FAILURE() << "no such record";
    return 0;
  }
};

absl::Status OpenWith(const Sample& sample, uint64_t at, const void* value, size_t n) {
  BufferFileSystem fs(sample.bytes);
  std::memcpy(fs.bytes().data() + at, value, n);
  RepairSessionFile(fs.bytes());
  return SessionFile::Open(fs, kPath).status();
}

TEST(SessionFileLiesTest, TheRepairIsWhatMakesADamagedFileAnHonestOne) {
  const Sample sample;
  BufferFileSystem fs(sample.bytes);
  RepairSessionFile(fs.bytes());
  EXPECT_EQ(fs.bytes(), sample.bytes);
  const uint64_t page = sample.batches[0].records[0].offset;
  fs.bytes()[page] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(SessionFile::Open(fs, kPath).status()));
  RepairSessionFile(fs.bytes());
  EXPECT_TRUE(SessionFile::Open(fs, kPath).ok()) << SessionFile::Open(fs, kPath).status();
}

TEST(SessionFileLiesTest, EachIsRefusedByName) {
  const Sample s;
  using session_file::RecordType;
  const uint64_t pages = s.RecordAt(1, RecordType::kPages);
  const uint64_t tokens = s.RecordAt(1, RecordType::kTokens);
  const uint64_t blob = s.RecordAt(1, RecordType::kUserBlob);
  const uint64_t rung = s.RecordAt(1, RecordType::kRung);
  const uint64_t ring = s.RecordAt(1, RecordType::kRing);
  struct Lie {
    uint64_t at, value;
    size_t bytes;
    const char* text;
  };
  const uint64_t d = s.directory[1], root_a = 4096, root_b = 8192;
  const Lie lies[] = {
      {384, 0, 4, "pages of 0 tokens"},
      {384, 65537, 4, "page_tokens is 65537"},
      {388, 0, 4, "a vocabulary of 0"},
      {388, 1u << 30, 4, "truncated"},
      {388, 0xffffffff, 4, "vocab_size is 4294967295"},
      {392, 16385, 8, "page_bytes is 16385"},
      {392, uint64_t{1} << 63, 8, "page_bytes is 9223372036854775808"},
      {400, kMany, 8, "fixed_bytes is 18446744073709551615"},
      {400, uint64_t{1} << 36, 8, "truncated"},
      {416, kMany, 4, "ring_slots is 4294967295"},
      {420, 1, 4, "unused part of the header"},
      {112 + 63, 'x', 1, "quantization is not a text"},
      {112, 7, 1, "byte 7"},
      {root_a + 16, 2, 8, "root A at 4096 is damaged"},
      {root_a + 16, 5, 8, "distance of the roots' generations is 3"},
      {root_b + 16, kMany - 1, 8, "distance of the roots' generations"},
      {root_b + 32, kMany, 8, "truncated"},
      {root_b + 32, s.bytes.size() - 4096, 8, "end of the root's directory"},
      {root_b + 40, 0, 8, "end of the root's directory"},
      {root_b + 40, kMany, 8, "end of the root's directory"},
      {d + 8, 1, 8, "generation of a batch is 1, expected 2"},
      {d + 16, 0, 8, "record of pages: offset is"},
      {d + 16, kMany, 8, "begin is 18446744073709551615"},
      {d + 24, kMany, 8, "number of kept tokens"},
      {d + 24, 15, 8, "number of kept tokens is 15, expected 14"},
      {d + 32, kMaxSessionTokens, 8, "number of page checksums is 2"},
      {d + 32, 9, 8, "expected"},
      {d + 40, 0, 8, "begin of a batch"},
      {d + 40, d, 8, "begin of a batch"},
      {d + 40, kMany, 8, "begin of a batch"},
      {d + 48, 0, 8, "begin of a batch"},
      {d + 60, 0xffffffff, 4, "directory at"},
      {d + 60, 0, 4, "its padding is not zero"},
      {d + 64, kMany, 8, "size is 4096"},
      {d + 64, 0, 8, "its padding is not zero"},
      {d + 104, 1, 8, "unused field is 1"},
      {s.directory[0] + 40, 1, 8, "what is before the first batch is 1"},
      {s.directory[0] + 24, 1, 8, "expected"},
      {pages, 9, 4, "unknown type"},
      {pages, 2, 4, "tokens"},
      {pages + 4, 1, 4, "flags that mean nothing"},
      {pages + 8, 0, 8, "first page is 0, expected 1"},
      {pages + 16, kMany, 8, "pages is 18446744073709551615"},
      {pages + 24, 0, 8, "offset is 0"},
      {pages + 32, 16384, 8, "size is 16384"},
      {pages + 40, 1, 8, "flags that mean nothing"},
      {pages + 48, 1, 4, "checksum is 1, expected 0"},
      {pages + 52, 1, 4, "unused field of a record"},
      {tokens + 8, 7, 8, "first token is 7, expected 6"},
      {tokens + 16, 9, 8, "tokens is 9, expected 8"},
      {tokens + 32, kMany, 8, "size is 18446744073709551615"},
      {blob, 3, 4, "out of order"},
      {blob + 8, 3, 8, "position is 3, expected 14"},
      {blob + 32, kMaxUserBlobBytes + 1, 8, "size is 67108865"},
      {rung + 8, 15, 8, "position is 15, expected 14"},
      {rung + 8, 14, 8, "position is 14, expected 15"},
      {rung + 16, 1, 8, "count is 1"},
      {rung + 32, 100, 8, "size is 100"},
      {ring + 8, kMany, 8, "tokens is"},
      {ring + 16, 9, 8, "tokens is 9"},
      {ring + 32, 8 * 24 + 1, 8, "size is 193"},
      {s.batches[1].records[1].offset, 17, 4, "token 6 is 17, the vocabulary has 17"},
      {s.batches[1].records[1].offset, 0xffffffff, 4, "token 6 is -1"},
  };
  for (const Lie& lie : lies) {
    const absl::Status status = OpenWith(s, lie.at, &lie.value, lie.bytes);
    EXPECT_TRUE(absl::IsDataLoss(status)) << lie.at << " " << status;
    EXPECT_TRUE(Says(status, lie.text)) << lie.at;
  }
}

// What takes more than one number.
TEST(SessionFileLiesTest, LiesThatAgreeWithEachOtherAreRefusedToo) {
  const Sample s;
  const auto refused = [](const Sample& sample,
                          const std::vector<std::pair<uint64_t, uint64_t>>& edits,
                          const std::string& text) {
    BufferFileSystem fs(sample.bytes);
    for (const auto& [at, value] : edits) std::memcpy(fs.bytes().data() + at, &value, 8);
    RepairSessionFile(fs.bytes());
    const absl::Status status = SessionFile::Open(fs, kPath).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_TRUE(Says(status, text));
  };
  const uint64_t root = 8192, end = s.bytes.size();
  refused(s, {{root + 40, s.directory[1] + 8}, {root + 48, end - s.directory[1] - 8}},
          "size of a directory is 4088");
  refused(s, {{root + 40, end}, {root + 48, 0}}, "size of a directory is 0");
  refused(s, {{root + 40, end + 4096}, {root + 48, ~uint64_t{4095}}}, "end of the root's");
  SessionGeometry g = SmallGeometry();
  g.page_bytes = 0;
  const Sample plain(g);
  const uint64_t tokens = plain.RecordAt(1, session_file::RecordType::kTokens);
  refused(plain,
          {{plain.directory[1] + 24, 10}, {tokens + 8, 10}, {tokens + 16, 4}, {tokens + 32, 16}},
          "keeps 10 tokens of 9");
}

// The root before the newest says of the log what the log says of itself.
TEST(SessionFileLiesTest, AnOlderRootThatLeadsElsewhere) {
  using session_file::Root;
  const Sample s;
  session_file::Sector sector;
  std::memcpy(sector.data(), s.bytes.data() + 4096, sector.size());
  Root root;
  ASSERT_EQ(DecodeRoot(sector, &root), session_file::RecordState::kValid);
  std::vector<Root> lies(6, root);
  lies[0].log_end += 4096;
  lies[1].directory_offset -= 4096;
  lies[2].directory_bytes += 4096;
  lies[3].directory_crc ^= 1;
  lies[4].position -= 1;
  lies[5].ledger[0] ^= 1;
  for (const Root& lie : lies) {
    BufferFileSystem fs(s.bytes);
    sector = EncodeRoot(lie);
    std::memcpy(fs.bytes().data() + 4096, sector.data(), sector.size());
    EXPECT_TRUE(Says(SessionFile::Open(fs, kPath).status(), "the older root"));
  }
  BufferFileSystem fs(s.bytes);
  sector = EncodeRoot(root);
  std::memcpy(fs.bytes().data() + 4096, sector.data(), sector.size());
  EXPECT_TRUE(SessionFile::Open(fs, kPath).ok());
}

// The mark of a flush under way excuses what that flush was writing, and nothing else.
TEST(SessionFileLiesTest, OnlyItsOwnMarkExcusesADamagedSlotOrRoot) {
  using session_file::OpenMark;
  const Sample s;
  BufferFileSystem whole(s.bytes);
  const auto file = SessionFile::Open(whole, kPath);
  ASSERT_TRUE(file.ok());
  const auto& state = (*file)->parsed().state;
  const uint64_t older_slot = state.layout.slot(0), newer_slot = state.layout.slot(1);
  const auto open = [&](const OpenMark& mark, uint64_t damaged) {
    const session_file::Sector sector = EncodeOpenMark(mark);
    BufferFileSystem fs(s.bytes +
                        std::string(reinterpret_cast<const char*>(sector.data()), sector.size()));
    fs.bytes()[damaged] ^= 1;
    return SessionFile::Open(fs, kPath);
  };
  const uint64_t end = s.bytes.size();
  const uint32_t crc = state.header.crc;
  for (uint64_t damaged : {older_slot, uint64_t{4096 + 50}}) {  // the next flush writes these
    const auto torn = open({2, end, crc}, damaged);
    ASSERT_TRUE(torn.ok()) << torn.status();
    EXPECT_TRUE((*torn)->unfinished_flush());
    EXPECT_EQ((*torn)->position(), 14u);
    for (const OpenMark& mark : {OpenMark{1, end, crc}, OpenMark{3, end, crc},
                                 OpenMark{2, end - 4096, crc}, OpenMark{2, end, crc ^ 1}})
      EXPECT_TRUE(absl::IsDataLoss(open(mark, damaged).status()));
  }
  const auto back = open({1, end, crc}, newer_slot);  // the last flush wrote this
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE((*back)->unfinished_flush());
  EXPECT_EQ((*back)->position(), 9u);
  for (const OpenMark& mark : {OpenMark{0, end, crc}, OpenMark{2, end, crc}})
    EXPECT_TRUE(absl::IsDataLoss(open(mark, newer_slot).status()));
  // What no flush touches is never excused: the newest root when it is whole, the log, the header.
  for (uint64_t damaged : {uint64_t{40}, s.directory[1] + 9, s.directory[0] + 9})
    EXPECT_TRUE(absl::IsDataLoss(open({2, end, crc}, damaged).status()));
  const auto finished = open({1, end, crc}, end + 100);  // a damaged mark, nothing else: remains
  ASSERT_TRUE(finished.ok());
  EXPECT_FALSE((*finished)->unfinished_flush());
}

// Every word of the header, roots and tables, set to what breaks arithmetic. What is accepted (the
// session's own business, what the repair undoes, what stood there already) has to hold together.
TEST(SessionFileLiesTest, EveryWordOfEveryTable) {
  const Sample s;
  std::vector<std::pair<uint64_t, uint64_t>> ranges = {{12, 424}, {4096, 4200}, {8192, 8296}};
  for (int i : {0, 1})
    ranges.push_back({s.directory[i], s.directory[i] + 128 + 72 * s.batches[i].records.size()});
  int refused = 0, accepted = 0;
  for (const auto& [begin, end] : ranges) {
    for (uint64_t at = begin; at < end; at += 4) {
      for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x7fffffff},
                                   uint64_t{0xffffffff}, uint64_t{1} << 63, kMany}) {
        for (const size_t n : {4, 8}) {
          BufferFileSystem fs(s.bytes);
          std::memcpy(fs.bytes().data() + at, &value, n);
          RepairSessionFile(fs.bytes());
          const auto file = SessionFile::Open(fs, kPath);
          ++(file.ok() ? accepted : refused);
          if (!file.ok()) continue;
          MemoryFileSystem again;
          ASSERT_TRUE(SaveSessionFile(again, kPath, (*file)->identity(), (*file)->geometry(),
                                      (*file)->content())
                          .ok());
          const auto copy = SessionFile::Open(again, kPath);
          ASSERT_TRUE(copy.ok()) << copy.status();
          ASSERT_EQ(Difference((*file)->geometry(), (*file)->content(), (*copy)->content()), "");
        }
      }
    }
  }
  EXPECT_GT(refused, 3000);
  EXPECT_GT(accepted, 0);
  std::printf("%d refused, %d accepted and whole\n", refused, accepted);
}

}  // namespace
}  // namespace rill
