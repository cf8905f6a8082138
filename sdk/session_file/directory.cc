#include "sdk/session_file/directory.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"

namespace rill::session_file {
namespace {

constexpr char kDirectoryMagic[8] = {'R', 'I', 'L', 'B', 'A', 'T', 'C', 'H'};

struct DirectoryBytesOnDisk {
  char magic[8];
  uint64_t generation, begin, kept, position;
  uint64_t previous_offset, previous_bytes;
  uint32_t previous_crc, n_records;
  uint64_t n_pages;
  uint8_t ledger[32];
  uint64_t reserved[3];
};
static_assert(sizeof(DirectoryBytesOnDisk) == 128);

struct RecordBytes {
  uint32_t type, flags;
  uint64_t start, count, offset, bytes, tag;
  uint32_t crc, reserved;
  uint8_t prefix[16];
};
static_assert(sizeof(RecordBytes) == 72);

absl::Status Wrong(std::string_view what, uint64_t found, uint64_t expected) {
  return absl::DataLossError(absl::StrCat(AbslView(what), " is ", found, ", expected ", expected));
}

uint64_t UnpaddedBytes(uint64_t n_records, uint64_t n_pages) {
  return sizeof(DirectoryBytesOnDisk) + n_records * sizeof(RecordBytes) +
         n_pages * sizeof(uint32_t);
}

Record TakeRecord(const RecordBytes& b) {
  Record r;
  r.type = static_cast<RecordType>(b.type);
  r.flags = b.flags;
  r.start = b.start;
  r.count = b.count;
  r.offset = b.offset;
  r.bytes = b.bytes;
  r.tag = b.tag;
  r.crc = b.crc;
  std::copy(std::begin(b.prefix), std::end(b.prefix), r.prefix.begin());
  return r;
}

}  // namespace

std::string_view Name(RecordType type) {
  switch (type) {
    case RecordType::kPages:
      return "pages";
    case RecordType::kTokens:
      return "tokens";
    case RecordType::kGeneration:
      return "generation";
    case RecordType::kUserBlob:
      return "user blob";
    case RecordType::kRung:
      return "rung";
    case RecordType::kRing:
      return "ring";
  }
  return "unknown type";
}

uint64_t PrefixEnd(const Record& r, const SessionGeometry& geometry, uint64_t position) {
  switch (r.type) {
    case RecordType::kPages:
      return (r.start + r.count) * geometry.page_tokens;
    case RecordType::kRung:
      return r.start;
    default:
      return position;
  }
}

uint64_t RecordOffset(RecordType type, uint64_t end) {
  return AlignUp(end, type == RecordType::kPages ? kPageAlign : kSector);
}

uint64_t DirectoryBytes(const BatchDirectory& d) {
  return AlignUp(UnpaddedBytes(d.records.size(), d.page_crcs.size()), kSector);
}

std::string EncodeDirectory(const BatchDirectory& d) {
  std::string out(static_cast<size_t>(DirectoryBytes(d)), '\0');
  DirectoryBytesOnDisk head{};
  std::memcpy(head.magic, kDirectoryMagic, sizeof kDirectoryMagic);
  head.generation = d.generation;
  head.begin = d.begin;
  head.kept = d.kept;
  head.position = d.position;
  head.previous_offset = d.previous_offset;
  head.previous_bytes = d.previous_bytes;
  head.previous_crc = d.previous_crc;
  head.n_records = static_cast<uint32_t>(d.records.size());
  head.n_pages = d.page_crcs.size();
  std::copy(d.ledger.begin(), d.ledger.end(), head.ledger);
  std::memcpy(out.data(), &head, sizeof head);
  char* at = out.data() + sizeof head;
  for (const Record& r : d.records) {
    RecordBytes b{static_cast<uint32_t>(r.type),
                  r.flags,
                  r.start,
                  r.count,
                  r.offset,
                  r.bytes,
                  r.tag,
                  r.crc,
                  0,
                  {}};
    std::copy(r.prefix.begin(), r.prefix.end(), b.prefix);
    std::memcpy(at, &b, sizeof b);
    at += sizeof b;
  }
  if (!d.page_crcs.empty())
    std::memcpy(at, d.page_crcs.data(), d.page_crcs.size() * sizeof(uint32_t));
  return out;
}

absl::StatusOr<BatchDirectory> DecodeDirectory(const std::string& bytes, uint64_t offset,
                                               const SessionGeometry& geometry) {
  DirectoryBytesOnDisk head;
  if (bytes.size() < sizeof head) return Wrong("size", bytes.size(), sizeof head);
  std::memcpy(&head, bytes.data(), sizeof head);
  if (std::memcmp(head.magic, kDirectoryMagic, sizeof kDirectoryMagic) != 0)
    return absl::DataLossError("it does not begin with its magic bytes");
  if (head.n_pages > bytes.size() / sizeof(uint32_t) ||
      AlignUp(UnpaddedBytes(head.n_records, head.n_pages), kSector) != bytes.size()) {
    return Wrong(
        "size", bytes.size(),
        AlignUp(UnpaddedBytes(head.n_records, std::min<uint64_t>(head.n_pages, bytes.size())),
                kSector));
  }
  BatchDirectory d;
  d.generation = head.generation;
  d.begin = head.begin;
  d.kept = head.kept;
  d.position = head.position;
  d.previous_offset = head.previous_offset;
  d.previous_bytes = head.previous_bytes;
  d.previous_crc = head.previous_crc;
  std::copy(std::begin(head.ledger), std::end(head.ledger), d.ledger.begin());
  const char* at = bytes.data() + sizeof head;
  d.records.reserve(head.n_records);
  for (uint32_t i = 0; i < head.n_records; ++i, at += sizeof(RecordBytes)) {
    RecordBytes b;
    std::memcpy(&b, at, sizeof b);
    if (b.reserved != 0) return Wrong("unused field of a record", b.reserved, 0);
    d.records.push_back(TakeRecord(b));
  }
  d.page_crcs.resize(static_cast<size_t>(head.n_pages));
  if (head.n_pages > 0) std::memcpy(d.page_crcs.data(), at, d.page_crcs.size() * sizeof(uint32_t));
  at += head.n_pages * sizeof(uint32_t);
  for (uint64_t word : head.reserved)
    if (word != 0) return Wrong("unused field", word, 0);
  if (!AllZero(reinterpret_cast<const std::byte*>(at),
               static_cast<size_t>(bytes.data() + bytes.size() - at)))
    return absl::DataLossError("its padding is not zero");
  RILL_RETURN_IF_ERROR(CheckDirectory(d, offset, geometry));
  return d;
}

}  // namespace rill::session_file
