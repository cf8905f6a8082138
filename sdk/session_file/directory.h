// sdk/session_file/directory.h — what one batch of the log holds: one table, written after its
// records, that names each with its place, its checksum and the hash of the tokens it belongs to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sdk/session_file/layout.h"
#include "sdk/session_file/ledger.h"

namespace rill::session_file {

enum class RecordType : uint32_t {
  kPages = 1,       // full pages [start, start + count); their checksums stand in the directory
  kTokens = 2,      // int32 ids of positions [start, start + count)
  kGeneration = 3,  // opaque; replaces the one before
  kUserBlob = 4,    // likewise
  kRung = 5,        // the state at position `start`: fixed part, then logits or nothing
  kRing = 6,        // the replay records of [start, start + count)
};
std::string_view Name(RecordType type);

struct Record {
  RecordType type{};
  uint32_t flags = 0;  // kRung: RungContent::flags
  uint64_t start = 0, count = 0;
  uint64_t offset = 0, bytes = 0;
  uint64_t tag = 0;    // kRung: RungContent::tag
  uint32_t crc = 0;    // 0 for kPages
  ShortHash prefix{};  // of the tokens before PrefixEnd()
};

struct BatchDirectory {
  uint64_t generation = 0;
  uint64_t begin = 0;     // where the batch starts: where the one before ended
  uint64_t kept = 0;      // tokens of the batches before that still hold; the rest is superseded
  uint64_t position = 0;  // tokens after this batch
  uint64_t previous_offset = 0, previous_bytes = 0;  // of the directory before; 0 in the first
  uint32_t previous_crc = 0;
  Sha256Digest ledger{};            // of all tokens after this batch
  std::vector<Record> records;      // in file order
  std::vector<uint32_t> page_crcs;  // of the pages of the kPages record
};

// How many tokens a record belongs to.
uint64_t PrefixEnd(const Record& record, const SessionGeometry& geometry, uint64_t position);

// Where a record that follows `end` begins.
uint64_t RecordOffset(RecordType type, uint64_t end);

uint64_t DirectoryBytes(const BatchDirectory& directory);
std::string EncodeDirectory(const BatchDirectory& directory);

// The meaning of a directory that stood at `offset`. DataLoss names what cannot be: records that do
// not tile [begin, offset), sizes that the geometry does not give, an order that no writer has.
absl::Status CheckDirectory(const BatchDirectory& directory, uint64_t offset,
                            const SessionGeometry& geometry);

// `bytes` stood at `offset` and had the right checksum. Checks the meaning too, before any number
// is used.
absl::StatusOr<BatchDirectory> DecodeDirectory(const std::string& bytes, uint64_t offset,
                                               const SessionGeometry& geometry);

}  // namespace rill::session_file
