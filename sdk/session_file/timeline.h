// sdk/session_file/timeline.h — what is alive after a number of batches: the reader builds it from
// the log, the writer keeps it to know what the next batch must bring.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sdk/session_file/directory.h"
#include "sdk/session_file/ledger.h"

namespace rill::session_file {

struct PageRef {
  uint64_t offset = 0;
  uint32_t crc = 0;
};

struct Timeline {
  Ledger ledger;
  std::vector<PageRef> pages;  // the full ones, by index
  std::vector<Record> rungs;   // ascending positions
  Record generation{}, user_blob{};
  Record ring{};  // count 0: none

  // Takes over the next batch: drops what it supersedes, checks every prefix hash against the
  // tokens that result, adds its records. DataLoss names what does not belong; then the object is
  // spent.
  absl::Status Apply(const BatchDirectory& batch, absl::Span<const int32_t> new_tokens,
                     const SessionGeometry& geometry);

  // Bytes of records that are alive.
  uint64_t LiveBytes(const SessionGeometry& geometry) const;

 private:
  void DropAfter(uint64_t kept, const SessionGeometry& geometry);
  void Add(const BatchDirectory& batch, const Record& record, const SessionGeometry& geometry);
};

}  // namespace rill::session_file
