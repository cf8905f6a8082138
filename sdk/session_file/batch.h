// sdk/session_file/batch.h — plans and writes one batch of the log, and one state slot.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "sdk/session_file/content.h"
#include "sdk/session_file/directory.h"
#include "sdk/session_file/layout.h"
#include "sdk/session_file/ledger.h"
#include "sdk/session_file/output.h"

namespace rill {

// What a save or flush wrote, in bytes without padding.
struct WriteReport {
  uint64_t generation = 0;   // of the file: 1 after a save, one more after every flush
  uint64_t kept_tokens = 0;  // that the file had already
  uint64_t new_tokens = 0;   // written now
  uint64_t pages = 0, tokens = 0, generation_state = 0, user_blob = 0, rungs = 0, ring = 0;
  uint64_t state = 0;       // one state slot: page in progress, fixed state, logits
  uint64_t directory = 0;   // headers, roots, directories and marks
  uint64_t total = 0;       // everything handed to the file, with padding
  uint64_t file_bytes = 0;  // of the file now
  uint64_t superseded = 0;  // of it that only a compaction would free
};

namespace session_file {

// What a batch brings beyond pages and tokens.
struct BatchParts {
  bool generation = false, user_blob = false, ring = false;
  std::vector<size_t> rungs;  // indices into SessionContent::ladder, ascending
};

// Where the batch stands in its chain. Zeros for the first.
struct BatchPlace {
  uint64_t generation = 1;
  uint64_t begin = 0;
  uint64_t kept = 0;
  uint64_t previous_offset = 0, previous_bytes = 0;
  uint32_t previous_crc = 0;
};

// All offsets, sizes and prefix hashes; the checksums come with the bytes. `ledger` holds the
// content's tokens.
BatchDirectory PlanBatch(const SessionGeometry& geometry, const SessionContent& content,
                         const Ledger& ledger, const BatchPlace& place, const BatchParts& parts);
uint64_t DirectoryOffset(const BatchDirectory& batch);
inline uint64_t LogEnd(const BatchDirectory& batch) {
  return DirectoryOffset(batch) + DirectoryBytes(batch);
}

// Writes the records, fills in their checksums, writes the directory.
absl::Status WriteBatch(const SessionGeometry& geometry, const SessionContent& content,
                        const BatchParts& parts, BatchDirectory& batch, Output& out,
                        uint32_t* directory_crc);

// Writes a whole slot at `offset`; `crc` is of all its bytes.
absl::Status WriteSlot(const SessionGeometry& geometry, const SessionContent& content,
                       uint64_t offset, Output& out, uint32_t* crc);

// The root that makes a batch and a slot the file's content.
Root MakeRoot(const BatchDirectory& batch, uint32_t directory_crc, uint32_t slot_crc,
              uint32_t header_crc, bool has_logits);

// Fills in the sums by kind.
void CountRecords(const BatchDirectory& batch, WriteReport* report);

}  // namespace session_file
}  // namespace rill
