#include "sdk/session_file/tools.h"

#include <algorithm>

#include "kernels/base/status.h"

namespace rill {

using namespace session_file;

namespace {

absl::StatusOr<std::shared_ptr<const SessionFile>> OpenLazily(FileSystem& fs,
                                                              const std::string& path) {
  OpenSessionOptions options;
  options.lazy = true;
  return SessionFile::Open(fs, path, options);
}

// Of `count` things from `start`, how many lie before `limit`.
uint64_t Before(uint64_t start, uint64_t count, uint64_t limit) {
  return limit <= start ? 0 : std::min(count, limit - start);
}

// `kept`: how many tokens all later batches left of this one.
uint64_t LiveBytes(const ParsedFile& file, const Record& r, uint64_t kept) {
  const Timeline& timeline = file.state.timeline;
  const SessionGeometry& g = file.state.header.geometry;
  switch (r.type) {
    case RecordType::kPages:
      return Before(r.start, r.count, kept / g.page_tokens) * g.page_bytes;
    case RecordType::kTokens:
      return Before(r.start, r.count, kept) * sizeof(int32_t);
    case RecordType::kGeneration:
      return timeline.generation.offset == r.offset ? r.bytes : 0;
    case RecordType::kUserBlob:
      return timeline.user_blob.offset == r.offset ? r.bytes : 0;
    case RecordType::kRing:
      return timeline.ring.offset == r.offset ? r.bytes : 0;
    case RecordType::kRung:
      break;
  }
  const bool alive = std::any_of(timeline.rungs.begin(), timeline.rungs.end(),
                                 [&](const Record& rung) { return rung.offset == r.offset; });
  return alive ? r.bytes : 0;
}

std::vector<SessionSegment> SegmentsOf(const ParsedFile& file) {
  std::vector<SessionSegment> segments;
  uint64_t kept = file.state.root.position;
  for (auto batch = file.batches.rbegin(); batch != file.batches.rend(); ++batch) {
    for (auto r = batch->records.rbegin(); r != batch->records.rend(); ++r) {
      segments.push_back({Name(r->type), batch->generation, r->start, r->count, r->offset, r->bytes,
                          LiveBytes(file, *r, kept), r->flags, r->tag});
    }
    kept = std::min(kept, batch->kept);
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

SessionRoot Describe(const RootInfo& info) {
  SessionRoot root;
  if (info.state == RecordState::kInvalid) root.state = SessionRoot::State::kDamaged;
  if (info.state != RecordState::kValid) return root;
  root = {SessionRoot::State::kValid, info.root.generation, info.root.position, info.root.log_end};
  return root;
}

}  // namespace

absl::StatusOr<SessionFileInfo> InspectSessionFile(FileSystem& fs, const std::string& path) {
  RILL_ASSIGN_OR_RETURN(const auto file, OpenLazily(fs, path));
  const ParsedFile& parsed = file->parsed();
  SessionFileInfo info;
  info.identity = file->identity();
  info.geometry = file->geometry();
  info.generation = file->generation();
  info.position = file->position();
  info.ledger = parsed.state.root.ledger;
  info.file_bytes = parsed.file_bytes;
  info.log_end = parsed.state.root.log_end;
  info.slack = parsed.slack();
  info.unfinished_flush = parsed.unfinished;
  info.has_logits = parsed.state.root.has_logits;
  for (int i : {0, 1}) info.roots[i] = Describe(parsed.roots[i]);
  info.segments = SegmentsOf(parsed);
  for (const SessionSegment& s : info.segments) info.superseded += s.bytes - s.live_bytes;
  return info;
}

absl::Status VerifySessionFile(FileSystem& fs, const std::string& path,
                               const FileProgress& progress) {
  OpenSessionOptions options;
  options.progress = progress;
  return SessionFile::Open(fs, path, options).status();
}

absl::StatusOr<WriteReport> CompactSessionFile(FileSystem& fs, const std::string& from,
                                               const std::string& to, const SaveOptions& options) {
  RILL_ASSIGN_OR_RETURN(const auto file, SessionFile::Open(fs, from));
  WriteReport report;
  RILL_RETURN_IF_ERROR(SaveSessionFile(fs, to, file->identity(), file->geometry(), file->content(),
                                       options, &report));
  return report;
}

absl::StatusOr<SessionFileDifference> DiffSessionFiles(FileSystem& fs, const std::string& a,
                                                       const std::string& b) {
  RILL_ASSIGN_OR_RETURN(const auto file_a, OpenLazily(fs, a));
  RILL_ASSIGN_OR_RETURN(const auto file_b, OpenLazily(fs, b));
  SessionFileDifference difference;
  difference.identity = DifferingFields(file_a->identity(), file_b->identity());
  difference.tokens_a = file_a->position();
  difference.tokens_b = file_b->position();
  difference.common_tokens =
      file_a->parsed().state.timeline.ledger.CommonPrefix(file_b->content().tokens);
  return difference;
}

}  // namespace rill
