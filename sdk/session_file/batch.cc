#include "sdk/session_file/batch.h"

#include <string>

#include "kernels/base/status.h"
#include "model/io/crc32c.h"

namespace rill::session_file {
namespace {

class Planner {
 public:
  Planner(const SessionGeometry& geometry, const Ledger& ledger, BatchDirectory* batch)
      : geometry_(geometry), ledger_(ledger), batch_(batch), end_(batch->begin) {}

  void Add(Record record) {
    record.offset = RecordOffset(record.type, end_);
    record.prefix = Shorten(ledger_.Hash(PrefixEnd(record, geometry_, batch_->position)));
    end_ = record.offset + record.bytes;
    batch_->records.push_back(record);
  }

 private:
  const SessionGeometry& geometry_;
  const Ledger& ledger_;
  BatchDirectory* batch_;
  uint64_t end_;
};

// One part of a record: its bytes go out and into the checksum.
absl::Status Emit(Output& out, uint64_t offset, const void* data, size_t bytes, uint32_t* crc) {
  if (bytes == 0) return absl::OkStatus();
  *crc = Crc32c(data, bytes, *crc);
  return out.Write(offset, data, bytes);
}

absl::Status EmitZeros(Output& out, uint64_t offset, uint64_t bytes, uint32_t* crc) {
  *crc = CrcOfZeros(bytes, *crc);
  return WriteZeros(out, offset, bytes);
}

absl::Status WritePages(const SessionGeometry& geometry, const SessionContent& content,
                        const Record& record, BatchDirectory& batch, Output& out) {
  for (uint64_t i = 0; i < record.count; ++i) {
    RILL_ASSIGN_OR_RETURN(const std::byte* page, content.source->Page(record.start + i));
    uint32_t crc = 0;
    RILL_RETURN_IF_ERROR(Emit(out, record.offset + i * geometry.page_bytes, page,
                              static_cast<size_t>(geometry.page_bytes), &crc));
    batch.page_crcs[static_cast<size_t>(i)] = crc;
  }
  return absl::OkStatus();
}

absl::Status WriteRung(const SessionGeometry& geometry, const SessionContent& content, size_t index,
                       Record& record, Output& out) {
  const RungContent& rung = content.ladder[index];
  const std::byte* fixed = rung.fixed.data();
  if (rung.fixed.empty() && geometry.fixed_bytes > 0) {
    RILL_ASSIGN_OR_RETURN(fixed, content.source->Rung(index));
  }
  RILL_RETURN_IF_ERROR(
      Emit(out, record.offset, fixed, static_cast<size_t>(geometry.fixed_bytes), &record.crc));
  if (rung.logits.empty()) return absl::OkStatus();
  const Layout layout = MakeLayout(geometry);
  RILL_RETURN_IF_ERROR(EmitZeros(out, record.offset + geometry.fixed_bytes,
                                 layout.rung_logits_offset - geometry.fixed_bytes, &record.crc));
  return Emit(out, record.offset + layout.rung_logits_offset, rung.logits.data(),
              rung.logits.size() * sizeof(float), &record.crc);
}

absl::Status WriteRecord(const SessionGeometry& geometry, const SessionContent& content,
                         size_t rung_index, Record& r, BatchDirectory& batch, Output& out) {
  r.crc = 0;
  switch (r.type) {
    case RecordType::kPages:
      return WritePages(geometry, content, r, batch, out);
    case RecordType::kTokens:
      return Emit(out, r.offset, content.tokens.data() + r.start, static_cast<size_t>(r.bytes),
                  &r.crc);
    case RecordType::kGeneration:
      return Emit(out, r.offset, content.generation.data(), content.generation.size(), &r.crc);
    case RecordType::kUserBlob:
      return Emit(out, r.offset, content.user_blob.data(), content.user_blob.size(), &r.crc);
    case RecordType::kRung:
      return WriteRung(geometry, content, rung_index, r, out);
    case RecordType::kRing:
      return Emit(out, r.offset, content.ring.bytes.data(), content.ring.bytes.size(), &r.crc);
  }
  return absl::InternalError("a record of no type");
}

}  // namespace

BatchDirectory PlanBatch(const SessionGeometry& g, const SessionContent& content,
                         const Ledger& ledger, const BatchPlace& place, const BatchParts& parts) {
  BatchDirectory batch;
  batch.generation = place.generation;
  batch.begin = place.begin;
  batch.kept = place.kept;
  batch.position = content.tokens.size();
  batch.previous_offset = place.previous_offset;
  batch.previous_bytes = place.previous_bytes;
  batch.previous_crc = place.previous_crc;
  batch.ledger = ledger.Hash(batch.position);
  Planner planner(g, ledger, &batch);
  const uint64_t first = place.kept / g.page_tokens, last = batch.position / g.page_tokens;
  if (g.page_bytes > 0 && last > first) {
    batch.page_crcs.resize(static_cast<size_t>(last - first));
    planner.Add({RecordType::kPages, 0, first, last - first, 0, (last - first) * g.page_bytes});
  }
  const uint64_t added = batch.position - place.kept;
  if (added > 0)
    planner.Add({RecordType::kTokens, 0, place.kept, added, 0, added * sizeof(int32_t)});
  if (parts.generation)
    planner.Add({RecordType::kGeneration, 0, batch.position, 0, 0, content.generation.size()});
  if (parts.user_blob)
    planner.Add({RecordType::kUserBlob, 0, batch.position, 0, 0, content.user_blob.size()});
  const Layout layout = MakeLayout(g);
  for (size_t i : parts.rungs) {
    const RungContent& rung = content.ladder[i];
    planner.Add({RecordType::kRung, rung.flags, rung.position, 0, 0,
                 rung.logits.empty() ? g.fixed_bytes : layout.rung_bytes, rung.tag});
  }
  if (parts.ring && content.ring.first != content.ring.end) {
    planner.Add({RecordType::kRing, 0, content.ring.first, content.ring.end - content.ring.first, 0,
                 content.ring.bytes.size()});
  }
  return batch;
}

uint64_t DirectoryOffset(const BatchDirectory& batch) {
  const uint64_t end = batch.records.empty()
                           ? batch.begin
                           : batch.records.back().offset + batch.records.back().bytes;
  return AlignUp(end, kSector);
}

absl::Status WriteBatch(const SessionGeometry& geometry, const SessionContent& content,
                        const BatchParts& parts, BatchDirectory& batch, Output& out,
                        uint32_t* directory_crc) {
  size_t next_rung = 0;
  for (Record& record : batch.records) {
    const size_t rung = record.type == RecordType::kRung ? parts.rungs[next_rung++] : 0;
    RILL_RETURN_IF_ERROR(WriteRecord(geometry, content, rung, record, batch, out));
  }
  const std::string directory = EncodeDirectory(batch);
  *directory_crc = Crc32c(directory.data(), directory.size());
  return out.Write(DirectoryOffset(batch), directory.data(), directory.size());
}

absl::Status WriteSlot(const SessionGeometry& g, const SessionContent& content, uint64_t offset,
                       Output& out, uint32_t* crc) {
  const Layout layout = MakeLayout(g);
  *crc = 0;
  const uint64_t position = content.tokens.size();
  if (g.page_bytes > 0 && position % g.page_tokens != 0) {
    RILL_ASSIGN_OR_RETURN(const std::byte* page, content.source->Page(position / g.page_tokens));
    RILL_RETURN_IF_ERROR(Emit(out, offset, page, static_cast<size_t>(g.page_bytes), crc));
  } else {
    RILL_RETURN_IF_ERROR(EmitZeros(out, offset, g.page_bytes, crc));
  }
  uint64_t at = g.page_bytes;
  RILL_RETURN_IF_ERROR(Emit(out, offset + at, content.fixed.data(), content.fixed.size(), crc));
  at += g.fixed_bytes;
  RILL_RETURN_IF_ERROR(EmitZeros(out, offset + at, layout.logits_offset - at, crc));
  at = layout.logits_offset;
  const size_t logits_bytes = content.logits.size() * sizeof(float);
  RILL_RETURN_IF_ERROR(Emit(out, offset + at, content.logits.data(), logits_bytes, crc));
  at += logits_bytes;
  return EmitZeros(out, offset + at, layout.slot_bytes - at, crc);
}

Root MakeRoot(const BatchDirectory& batch, uint32_t directory_crc, uint32_t slot_crc,
              uint32_t header_crc, bool has_logits) {
  Root root;
  root.generation = batch.generation;
  root.position = batch.position;
  root.log_end = LogEnd(batch);
  root.directory_offset = DirectoryOffset(batch);
  root.directory_bytes = DirectoryBytes(batch);
  root.directory_crc = directory_crc;
  root.slot_crc = slot_crc;
  root.header_crc = header_crc;
  root.has_logits = has_logits;
  root.ledger = batch.ledger;
  return root;
}

void CountRecords(const BatchDirectory& batch, WriteReport* report) {
  report->generation = batch.generation;
  report->kept_tokens = batch.kept;
  report->new_tokens = batch.position - batch.kept;
  report->directory += DirectoryBytes(batch);
  for (const Record& r : batch.records) {
    switch (r.type) {
      case RecordType::kPages:
        report->pages += r.bytes;
        break;
      case RecordType::kTokens:
        report->tokens += r.bytes;
        break;
      case RecordType::kGeneration:
        report->generation_state += r.bytes;
        break;
      case RecordType::kUserBlob:
        report->user_blob += r.bytes;
        break;
      case RecordType::kRung:
        report->rungs += r.bytes;
        break;
      case RecordType::kRing:
        report->ring += r.bytes;
        break;
    }
  }
}

}  // namespace rill::session_file
