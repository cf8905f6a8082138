#include "sdk/session_file/save.h"

#include <utility>

#include "kernels/base/status.h"

namespace rill {
namespace session_file {
namespace {

// A full save before and while it is written.
struct Draft {
  FileState state;
  BatchDirectory batch;
  BatchParts parts;
  uint64_t total = 0;  // bytes that go through an Output
};

BatchParts AllParts(const SessionContent& content, const SaveOptions& options) {
  BatchParts parts;
  parts.generation = !content.generation.empty();
  parts.user_blob = !content.user_blob.empty();
  parts.ring = options.with_ring;
  if (options.with_ladder)
    for (size_t i = 0; i < content.ladder.size(); ++i) parts.rungs.push_back(i);
  return parts;
}

absl::StatusOr<Draft> MakeDraft(const SessionIdentity& identity, const SessionGeometry& geometry,
                                const SessionContent& content, const SaveOptions& options) {
  RILL_RETURN_IF_ERROR(ValidateIdentity(identity));
  RILL_RETURN_IF_ERROR(ValidateGeometry(geometry));
  RILL_RETURN_IF_ERROR(ValidateContent(geometry, content));
  Draft draft;
  draft.state.header = {identity, geometry};
  draft.state.layout = MakeLayout(geometry);
  draft.parts = AllParts(content, options);
  Ledger ledger;
  ledger.Append(content.tokens);
  BatchPlace place;
  place.begin = draft.state.layout.log_begin;
  draft.batch = PlanBatch(geometry, content, ledger, place, draft.parts);
  draft.total = LogEnd(draft.batch) - place.begin + draft.state.layout.slot_bytes + 2 * kSector;
  return draft;
}

// Everything before the log, first byte to last: the header, root A, slot A; root B and slot B are
// zeros, which is what a gap is.
absl::Status WriteFront(const SessionContent& content, Draft& draft, uint32_t directory_crc,
                        uint32_t slot_crc, Output& out) {
  FileState& state = draft.state;
  const Sector header = EncodeHeader(state.header);
  state.root =
      MakeRoot(draft.batch, directory_crc, slot_crc, state.header.crc, !content.logits.empty());
  const Sector root = EncodeRoot(state.root);
  RILL_RETURN_IF_ERROR(out.Write(0, header.data(), header.size()));
  return out.Write(kRootOffset, root.data(), root.size());
}

absl::Status Keep(Draft& draft, const SessionContent& content) {
  return draft.state.timeline.Apply(draft.batch, content.tokens, draft.state.header.geometry);
}

void Count(const Draft& draft, uint64_t total, WriteReport* report) {
  if (report == nullptr) return;
  *report = {};
  CountRecords(draft.batch, report);
  report->state = draft.state.layout.slot_bytes;
  report->directory += 2 * kSector;
  report->total = total;
  report->file_bytes = draft.state.root.log_end;
}

}  // namespace

absl::StatusOr<FileState> SaveAndKeep(FileSystem& fs, const std::string& path,
                                      const SessionIdentity& identity,
                                      const SessionGeometry& geometry,
                                      const SessionContent& content, const SaveOptions& options,
                                      WriteReport* report) {
  RILL_ASSIGN_OR_RETURN(Draft draft, MakeDraft(identity, geometry, content, options));
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(fs, path));
  FileOutput<AtomicFile> to_file(*file);
  WatchedOutput out(to_file, options.progress, draft.total);
  // The log first: what stands before it has checksums of it.
  uint32_t directory_crc = 0, slot_crc = 0;
  RILL_RETURN_IF_ERROR(
      WriteBatch(geometry, content, draft.parts, draft.batch, out, &directory_crc));
  RILL_RETURN_IF_ERROR(WriteSlot(geometry, content, draft.state.layout.slot(0), out, &slot_crc));
  RILL_RETURN_IF_ERROR(WriteFront(content, draft, directory_crc, slot_crc, out));
  RILL_RETURN_IF_ERROR(Keep(draft, content));
  RILL_RETURN_IF_ERROR(file->Commit(options.durability));
  Count(draft, out.written(), report);
  return std::move(draft.state);
}

}  // namespace session_file

absl::Status SaveSessionFile(FileSystem& fs, const std::string& path,
                             const SessionIdentity& identity, const SessionGeometry& geometry,
                             const SessionContent& content, const SaveOptions& options,
                             WriteReport* report) {
  return session_file::SaveAndKeep(fs, path, identity, geometry, content, options, report).status();
}

absl::Status WriteSession(const SessionIdentity& identity, const SessionGeometry& geometry,
                          const SessionContent& content, const SaveOptions& options, ByteSink sink,
                          WriteReport* report) {
  using namespace session_file;
  RILL_ASSIGN_OR_RETURN(Draft draft, MakeDraft(identity, geometry, content, options));
  NoOutput nowhere;
  uint32_t directory_crc = 0, slot_crc = 0;
  RILL_RETURN_IF_ERROR(
      WriteBatch(geometry, content, draft.parts, draft.batch, nowhere, &directory_crc));
  RILL_RETURN_IF_ERROR(WriteSlot(geometry, content, 0, nowhere, &slot_crc));
  SinkOutput to_sink(sink);
  WatchedOutput out(to_sink, options.progress, draft.total);
  RILL_RETURN_IF_ERROR(WriteFront(content, draft, directory_crc, slot_crc, out));
  uint32_t directory_again = 0, slot_again = 0;
  RILL_RETURN_IF_ERROR(WriteSlot(geometry, content, draft.state.layout.slot(0), out, &slot_again));
  RILL_RETURN_IF_ERROR(
      WriteBatch(geometry, content, draft.parts, draft.batch, out, &directory_again));
  if (directory_again != directory_crc || slot_again != slot_crc)
    return absl::AbortedError("the session changed while it was written");
  Count(draft, out.written(), report);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SessionFileBytes(const SessionGeometry& geometry,
                                          const SessionContent& content,
                                          const SaveOptions& options) {
  RILL_ASSIGN_OR_RETURN(const session_file::Draft draft,
                        session_file::MakeDraft({}, geometry, content, options));
  return session_file::LogEnd(draft.batch);
}

}  // namespace rill
