#include "sdk/session_file/timeline.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"

namespace rill::session_file {
namespace {

absl::Status CheckPrefixes(const BatchDirectory& batch, const Ledger& ledger,
                           const SessionGeometry& geometry) {
  for (const Record& r : batch.records) {
    const uint64_t end = PrefixEnd(r, geometry, batch.position);
    if (r.prefix == Shorten(ledger.Hash(end))) continue;
    return absl::DataLossError(
        absl::StrCat("batch ", batch.generation, ": the ", AbslView(Name(r.type)), " at ", r.offset,
                     " belong to other tokens than the first ", end, " of this file"));
  }
  return absl::OkStatus();
}

}  // namespace

void Timeline::DropAfter(uint64_t kept, const SessionGeometry& geometry) {
  ledger.Truncate(kept);
  if (geometry.page_bytes > 0)
    pages.resize(std::min<uint64_t>(pages.size(), kept / geometry.page_tokens));
  while (!rungs.empty() && rungs.back().start > kept) rungs.pop_back();
  if (ring.start + ring.count > kept) ring = {};
}

void Timeline::Add(const BatchDirectory& batch, const Record& r, const SessionGeometry& geometry) {
  switch (r.type) {
    case RecordType::kPages:
      for (uint64_t i = 0; i < r.count; ++i)
        pages.push_back({r.offset + i * geometry.page_bytes, batch.page_crcs[i]});
      return;
    case RecordType::kTokens:
      return;
    case RecordType::kGeneration:
      generation = r;
      return;
    case RecordType::kUserBlob:
      user_blob = r;
      return;
    case RecordType::kRung: {
      const auto at = std::lower_bound(rungs.begin(), rungs.end(), r.start,
                                       [](const Record& a, uint64_t p) { return a.start < p; });
      if (at != rungs.end() && at->start == r.start) {
        *at = r;
      } else {
        rungs.insert(at, r);
      }
      return;
    }
    case RecordType::kRing:
      ring = r;
      return;
  }
}

absl::Status Timeline::Apply(const BatchDirectory& batch, absl::Span<const int32_t> new_tokens,
                             const SessionGeometry& geometry) {
  if (batch.kept > ledger.size() || new_tokens.size() != batch.position - batch.kept) {
    return absl::DataLossError(absl::StrCat("batch ", batch.generation, ": keeps ", batch.kept,
                                            " tokens of ", ledger.size(), ", adds ",
                                            new_tokens.size(), ", ends at ", batch.position));
  }
  DropAfter(batch.kept, geometry);
  ledger.Append(new_tokens);
  if (ledger.Hash(ledger.size()) != batch.ledger) {
    return absl::DataLossError(absl::StrCat("batch ", batch.generation,
                                            ": its hash is not that of the first ", ledger.size(),
                                            " tokens of this file"));
  }
  RILL_RETURN_IF_ERROR(CheckPrefixes(batch, ledger, geometry));
  for (const Record& r : batch.records) Add(batch, r, geometry);
  if (ring.start + ring.count != ledger.size()) ring = {};
  return absl::OkStatus();
}

uint64_t Timeline::LiveBytes(const SessionGeometry& geometry) const {
  uint64_t bytes = pages.size() * geometry.page_bytes + ledger.size() * sizeof(int32_t) +
                   generation.bytes + user_blob.bytes + ring.bytes;
  for (const Record& rung : rungs) bytes += rung.bytes;
  return bytes;
}

}  // namespace rill::session_file
