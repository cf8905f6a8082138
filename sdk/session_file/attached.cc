#include "sdk/session_file/attached.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"

namespace rill {

using namespace session_file;

namespace {

Sha256Digest HashOf(std::string_view bytes) { return Sha256Of(bytes.data(), bytes.size()); }

// An output that remembers that it was the file that failed, not the session's side.
class UpdateOutput final : public Output {
 public:
  explicit UpdateOutput(WritableFile& file) : file_(file) {}
  bool failed() const { return failed_; }

 private:
  absl::Status Put(uint64_t offset, const void* data, size_t bytes) override {
    const absl::Status status = file_.WriteAt(offset, data, bytes);
    failed_ = failed_ || !status.ok();
    return status;
  }
  WritableFile& file_;
  bool failed_ = false;
};

absl::Status SyncIf(const FlushOptions& options, WritableFile& file) {
  return options.durability == Durability::kNone ? absl::OkStatus() : file.Sync();
}

uint64_t BytesOf(const BatchDirectory& batch) {
  uint64_t bytes = 0;
  for (const Record& r : batch.records) bytes += r.bytes;
  return bytes;
}

}  // namespace

struct AttachedSessionFile::Turn {
  BatchParts parts;
  BatchDirectory batch;
  Timeline next;
  uint32_t directory_crc = 0;
  Root root;
  WriteReport report;
  bool nothing = false;
  bool file_failed = false;
};

absl::StatusOr<std::unique_ptr<AttachedSessionFile>> AttachedSessionFile::Create(
    FileSystem& fs, const std::string& path, const SessionIdentity& identity,
    const SessionGeometry& geometry, const SessionContent& content, const SaveOptions& options,
    WriteReport* report) {
  std::unique_ptr<AttachedSessionFile> attached(new AttachedSessionFile(fs, path));
  RILL_ASSIGN_OR_RETURN(attached->state_,
                        SaveAndKeep(fs, path, identity, geometry, content, options, report));
  FileState& state = attached->state_;
  attached->sectors_[0] = EncodeHeader(state.header);
  attached->sectors_[1] = EncodeRoot(state.root);
  attached->sectors_[2] = {};
  attached->record_bytes_ = state.timeline.LiveBytes(geometry);
  attached->file_bytes_ = state.root.log_end;
  attached->Remember(content);
  return attached;
}

std::unique_ptr<AttachedSessionFile> AttachedSessionFile::Attach(FileSystem& fs,
                                                                 const std::string& path,
                                                                 const SessionFile& file) {
  std::unique_ptr<AttachedSessionFile> attached(new AttachedSessionFile(fs, path));
  const ParsedFile& parsed = file.parsed();
  attached->state_ = parsed.state;
  std::copy(std::begin(parsed.front), std::end(parsed.front), attached->sectors_);
  for (const BatchDirectory& batch : parsed.batches) attached->record_bytes_ += BytesOf(batch);
  attached->file_bytes_ = parsed.file_bytes;
  attached->unfinished_ = parsed.unfinished;
  attached->Remember(file.content());
  return attached;
}

uint64_t AttachedSessionFile::superseded() const {
  return record_bytes_ - state_.timeline.LiveBytes(state_.header.geometry);
}

uint64_t AttachedSessionFile::RungAtOrBelow(uint64_t position) const {
  uint64_t highest = 0;
  for (const Record& rung : state_.timeline.rungs) {
    if (rung.start <= position) highest = rung.start;
  }
  return highest;
}

void AttachedSessionFile::Remember(const SessionContent& content) {
  generation_hash_ = HashOf(content.generation);
  user_blob_hash_ = HashOf(content.user_blob);
}

AttachedSessionFile::Turn AttachedSessionFile::Plan(const SessionContent& content,
                                                    const FlushOptions& options) const {
  const Timeline& timeline = state_.timeline;
  Turn turn;
  turn.next = timeline;
  BatchPlace place;
  place.kept = std::min(timeline.ledger.CommonPrefix(content.tokens), options.stable_prefix);
  turn.parts.generation = HashOf(content.generation) != generation_hash_;
  turn.parts.user_blob = HashOf(content.user_blob) != user_blob_hash_;
  for (size_t i = 0; options.with_ladder && i < content.ladder.size(); ++i) {
    const uint64_t position = content.ladder[i].position;
    const bool there =
        position <= place.kept && std::any_of(timeline.rungs.begin(), timeline.rungs.end(),
                                              [&](const Record& r) { return r.start == position; });
    if (!there) turn.parts.rungs.push_back(i);
  }
  const bool same_tokens =
      place.kept == timeline.ledger.size() && place.kept == content.tokens.size();
  turn.parts.ring = options.with_ring && content.ring.first != content.ring.end &&
                    !(same_tokens && timeline.ring.count > 0);
  turn.nothing = same_tokens && !turn.parts.generation && !turn.parts.user_blob &&
                 turn.parts.rungs.empty() && !turn.parts.ring &&
                 state_.root.has_logits == !content.logits.empty();
  place.generation = state_.root.generation + 1;
  place.begin = state_.root.log_end;
  place.previous_offset = state_.root.directory_offset;
  place.previous_bytes = state_.root.directory_bytes;
  place.previous_crc = state_.root.directory_crc;
  Ledger ledger = timeline.ledger;
  ledger.Truncate(place.kept);
  ledger.Append(content.tokens.subspan(static_cast<size_t>(place.kept)));
  turn.batch = PlanBatch(state_.header.geometry, content, ledger, place, turn.parts);
  return turn;
}

// Nobody else may have written here: a flush of theirs would be lost or, worse, half overwritten.
absl::Status AttachedSessionFile::CheckUntouched() const {
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, fs_.OpenForReading(path_));
  Sector now[3] = {};
  if (file->size() == file_bytes_) RILL_RETURN_IF_ERROR(file->ReadAt(0, now, sizeof now));
  if (file->size() != file_bytes_ || std::memcmp(now, sectors_, sizeof now) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path_, ": somebody else wrote to the file since generation ", state_.root.generation,
        "; it has ", file->size(), " bytes, expected ", file_bytes_));
  }
  return absl::OkStatus();
}

// What an unfinished flush left: the root and slot that it was writing become empty again before
// the mark that excuses them goes. The sync also holds back for a root that another process wrote
// but did not live to sync.
absl::Status AttachedSessionFile::Clean(WritableFile& file, const FlushOptions& options,
                                        WriteReport* report) {
  if (file_bytes_ == state_.root.log_end && !unfinished_) return absl::OkStatus();
  if (unfinished_) {
    const int other = 1 - state_.root.index();
    UpdateOutput out(file);
    RILL_RETURN_IF_ERROR(WriteZeros(out, state_.layout.slot(other), state_.layout.slot_bytes));
    RILL_RETURN_IF_ERROR(
        WriteZeros(out, kRootOffset + static_cast<uint64_t>(other) * kSector, kSector));
    sectors_[1 + other] = {};
    report->total += out.written();
  }
  RILL_RETURN_IF_ERROR(SyncIf(options, file));
  RILL_RETURN_IF_ERROR(file.Truncate(state_.root.log_end));
  file_bytes_ = state_.root.log_end;
  unfinished_ = false;
  return absl::OkStatus();
}

absl::Status AttachedSessionFile::WriteLog(Turn& turn, const SessionContent& content,
                                           const FlushOptions& options, WritableFile& file) {
  UpdateOutput to_file(file);
  WatchedOutput out(to_file, options.progress, LogEnd(turn.batch) - turn.batch.begin);
  absl::Status status =
      WriteBatch(state_.header.geometry, content, turn.parts, turn.batch, out, &turn.directory_crc);
  const uint64_t end = LogEnd(turn.batch);
  if (status.ok()) {
    const Sector mark = EncodeOpenMark({state_.root.generation, end, state_.header.crc});
    status = to_file.Write(end, mark.data(), mark.size());
  }
  turn.file_failed = to_file.failed();
  turn.report.total += to_file.written();
  if (status.ok()) return status;
  // Give the room back; where that fails too, the file opens as it was all the same.
  if (!file.Truncate(state_.root.log_end).ok()) turn.file_failed = true;
  return status;
}

absl::Status AttachedSessionFile::WriteState(Turn& turn, const SessionContent& content,
                                             const FlushOptions& options, WritableFile& file) {
  UpdateOutput out(file);
  const int index = 1 - state_.root.index();
  uint32_t slot_crc = 0;
  absl::Status status =
      WriteSlot(state_.header.geometry, content, state_.layout.slot(index), out, &slot_crc);
  if (status.ok()) {
    turn.root = MakeRoot(turn.batch, turn.directory_crc, slot_crc, state_.header.crc,
                         !content.logits.empty());
    const Sector root = EncodeRoot(turn.root);
    status =
        out.Write(kRootOffset + static_cast<uint64_t>(index) * kSector, root.data(), root.size());
  }
  turn.report.total += out.written();
  turn.file_failed = out.failed();
  return status;
}

absl::Status AttachedSessionFile::Run(Turn& turn, const SessionContent& content,
                                      const FlushOptions& options) {
  turn.file_failed = true;  // until something else is known to have failed
  RILL_RETURN_IF_ERROR(CheckUntouched());
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, fs_.OpenForUpdate(path_));
  RILL_RETURN_IF_ERROR(Clean(*file, options, &turn.report));
  RILL_RETURN_IF_ERROR(WriteLog(turn, content, options, *file));
  turn.file_failed = true;
  RILL_RETURN_IF_ERROR(SyncIf(options, *file));
  file_bytes_ = LogEnd(turn.batch) + kSector;
  unfinished_ = true;
  RILL_RETURN_IF_ERROR(WriteState(turn, content, options, *file));
  turn.file_failed = true;
  RILL_RETURN_IF_ERROR(SyncIf(options, *file));
  RILL_RETURN_IF_ERROR(file->Truncate(turn.root.log_end));
  return file->Close();
}

void AttachedSessionFile::Commit(Turn& turn, const SessionContent& content) {
  CountRecords(turn.batch, &turn.report);
  record_bytes_ += BytesOf(turn.batch);
  state_.root = turn.root;
  state_.timeline = std::move(turn.next);
  sectors_[1 + turn.root.index()] = EncodeRoot(turn.root);
  file_bytes_ = turn.root.log_end;
  unfinished_ = false;
  Remember(content);
  turn.report.state = state_.layout.slot_bytes;
  turn.report.directory += 2 * kSector;  // the mark and the root
}

absl::StatusOr<WriteReport> AttachedSessionFile::Flush(const SessionContent& content,
                                                       const FlushOptions& options) {
  if (!failure_.ok()) {
    return absl::UnavailableError(absl::StrCat(
        path_, ": an earlier flush failed, save the session anew: ", failure_.message()));
  }
  RILL_RETURN_IF_ERROR(ValidateContent(state_.header.geometry, content));
  Turn turn = Plan(content, options);
  if (!turn.nothing) {
    // Stays where an exception passes: nobody knows how far the file got.
    failure_ = absl::InternalError("the flush was left in the middle");
    absl::Status status = Run(turn, content, options);
    if (status.ok()) {
      status =
          turn.next.Apply(turn.batch, content.tokens.subspan(static_cast<size_t>(turn.batch.kept)),
                          state_.header.geometry);
    }
    failure_ = turn.file_failed ? status : absl::OkStatus();
    if (!status.ok()) return status;
    Commit(turn, content);
  } else {
    turn.report.generation = state_.root.generation;
    turn.report.kept_tokens = state_.root.position;
  }
  turn.report.file_bytes = file_bytes_;
  turn.report.superseded = superseded();
  return turn.report;
}

}  // namespace rill
