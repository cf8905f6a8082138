// sdk/session_file/layout.h — where the parts of a *.rillstate file stand, and its fixed records.
//
//   0          header   4096   identity and geometry
//   4096       root A   4096   roots and slots alternate: generation g is in A when g is odd
//   8192       root B   4096
//   12288      slot A          last page (when partly filled), fixed state, last logits
//   + slot     slot B
//   log        batches         a save writes one, every flush appends one; never changed again
//
// A batch is records (pages, tokens, ...) and a directory that names them. docs/FORMATS.md has the
// bytes, docs/adr/0007-session-file.md the reasons.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/base/checked.h"
#include "sdk/session_file/content.h"

namespace rill::session_file {

inline constexpr unsigned char kMagic[8] = {0x89, 'R', 'I', 'S', 0x0D, 0x0A, 0x1A, 0x0A};
inline constexpr uint16_t kMajor = 1;
inline constexpr uint16_t kMinor = 0;

inline constexpr uint64_t kSector = 4096;         // of the largest sectors; nothing shares one
inline constexpr uint64_t kPageAlign = 16384;     // of the largest memory pages
inline constexpr uint64_t kFieldAlign = 64;       // of vectors inside a record
inline constexpr uint64_t kRootOffset = kSector;  // of root A; B follows
inline constexpr uint64_t kSlotOffset = 3 * kSector;
inline constexpr uint64_t kMaxDirectoryBytes = uint64_t{256} << 20;

struct Layout {
  uint64_t fixed_offset = 0, logits_offset = 0;  // in a slot; its page is at 0
  uint64_t slot_bytes = 0;
  uint64_t log_begin = 0;
  uint64_t rung_logits_offset = 0;  // in a rung's record
  uint64_t rung_bytes = 0;          // of a rung with logits

  uint64_t slot(int index) const { return kSlotOffset + static_cast<uint64_t>(index) * slot_bytes; }
};

// Of a geometry that ValidateGeometry accepted: its bounds keep all sums in range.
Layout MakeLayout(const SessionGeometry& geometry);

// Bytes of a record on disk, as the writer's and the reader's memory has them.
using Sector = std::array<std::byte, kSector>;

struct Header {
  SessionIdentity identity;
  SessionGeometry geometry;
  uint32_t crc = 0;  // filled in by Decode and Encode
};

Sector EncodeHeader(Header& header);
// InvalidArgument: not a session file. FailedPrecondition: another version. DataLoss: damaged.
// `file_bytes` is the whole file's size, for messages; `available` bytes of the sector were read.
absl::StatusOr<Header> DecodeHeader(const Sector& sector, uint64_t available);

enum class RecordState : uint8_t { kZero, kValid, kInvalid };

struct Root {
  uint64_t generation = 0;
  uint64_t position = 0;
  uint64_t log_end = 0;
  uint64_t directory_offset = 0, directory_bytes = 0;
  uint32_t directory_crc = 0;
  uint32_t slot_crc = 0;    // of the whole slot with the same letter
  uint32_t header_crc = 0;  // of the header: a root belongs to one
  bool has_logits = false;
  Sha256Digest ledger{};  // of all tokens

  int index() const { return generation % 2 == 1 ? 0 : 1; }
};

Sector EncodeRoot(const Root& root);
// Damage is an answer here, not an error: an unfinished flush leaves it lawfully.
RecordState DecodeRoot(const Sector& sector, Root* root);

// The last sector of a file while a flush is under way; see attached.cc.
struct OpenMark {
  uint64_t base_generation = 0;  // which is being followed by the next one
  uint64_t log_end = 0;          // where the mark stands
  uint32_t header_crc = 0;
};

Sector EncodeOpenMark(const OpenMark& mark);
bool DecodeOpenMark(const Sector& sector, OpenMark* mark);

bool AllZero(const std::byte* data, size_t bytes);

// "0x1234abcd"
std::string Hex(uint32_t crc);
// DataLoss: "<section> at <offset>: checksum 0x.., expected 0x..".
absl::Status BadChecksum(std::string_view section, uint64_t offset, uint32_t found,
                         uint32_t expected);

}  // namespace rill::session_file
