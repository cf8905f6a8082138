// sdk/session_file/attached.h — a *.rillstate file that follows its session: a flush appends what
// is new and rewrites one state slot, so a turn costs its own pages and not the whole session.
//
// How a flush stays old or new: the new batch and a mark go behind the end of the log; sync; then
// the slot and root that are not in use are written; sync; then the mark is cut off. Until the
// second sync the file opens as it was, after it as it is. Nothing that is in use is ever written
// over.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/io/file.h"
#include "sdk/session_file/save.h"
#include "sdk/session_file/session_file.h"

namespace rill {

struct FlushOptions {
  // kData and kFull are the same here: the file has its name already. With kNone a power cut may
  // cost the whole file, a killed process nothing.
  Durability durability = Durability::kFull;
  // Tokens whose pages are still those of the last flush. A session that went back to p and came
  // again, even by the same tokens, says p: its new pages may have other bits than the file's.
  uint64_t stable_prefix = std::numeric_limits<uint64_t>::max();
  bool with_ladder = false;  // appends rungs that the file lacks: fixed_bytes each
  bool with_ring = false;
  FileProgress progress;  // asked before every write of the log; later writes are not cancelled
};

// One caller at a time. Holds no open file between calls.
class AttachedSessionFile {
 public:
  // A full save to `path`, and stays attached. Borrows `fs`.
  static absl::StatusOr<std::unique_ptr<AttachedSessionFile>> Create(
      FileSystem& fs, const std::string& path, const SessionIdentity& identity,
      const SessionGeometry& geometry, const SessionContent& content,
      const SaveOptions& options = {}, WriteReport* report = nullptr);

  // To the file at `path` that `file` was opened from. What an unfinished flush left there is
  // cleaned away by the first flush.
  static std::unique_ptr<AttachedSessionFile> Attach(FileSystem& fs, const std::string& path,
                                                     const SessionFile& file);

  // Makes the file hold `content`. Writes nothing when it does already. A session that was rewound
  // appends a batch that supersedes what lay behind; only a compaction gives that room back.
  //
  // InvalidArgument, ResourceExhausted (a limit), Cancelled and errors of the source change
  // nothing: the next flush works. FailedPrecondition: somebody else wrote to or replaced the file.
  // After that and after any error of the file system the object is spent: every later call answers
  // Unavailable with the first error, and the file holds the old or the new content. Save anew.
  absl::StatusOr<WriteReport> Flush(const SessionContent& content,
                                    const FlushOptions& options = {});

  const absl::Status& health() const { return failure_; }
  const std::string& path() const { return path_; }
  uint64_t generation() const { return state_.root.generation; }
  uint64_t position() const { return state_.root.position; }
  uint64_t file_bytes() const { return state_.root.log_end; }
  // Where the highest rung at or below a position stands; 0 when there is none.
  uint64_t RungAtOrBelow(uint64_t position) const;
  // Bytes that only a compaction would give back.
  uint64_t superseded() const;

 private:
  struct Turn;  // one flush
  AttachedSessionFile(FileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  void Remember(const SessionContent& content);
  Turn Plan(const SessionContent& content, const FlushOptions& options) const;
  absl::Status CheckUntouched() const;
  absl::Status Run(Turn& turn, const SessionContent& content, const FlushOptions& options);
  absl::Status Clean(WritableFile& file, const FlushOptions& options, WriteReport* report);
  absl::Status WriteLog(Turn& turn, const SessionContent& content, const FlushOptions& options,
                        WritableFile& file);
  absl::Status WriteState(Turn& turn, const SessionContent& content, const FlushOptions& options,
                          WritableFile& file);
  void Commit(Turn& turn, const SessionContent& content);

  FileSystem& fs_;
  std::string path_;
  session_file::FileState state_;
  session_file::Sector sectors_[3];  // header and roots as they are in the file
  Sha256Digest generation_hash_{}, user_blob_hash_{};
  uint64_t record_bytes_ = 0;  // of all batches
  uint64_t file_bytes_ = 0;    // more than the log's end when something was left behind
  bool unfinished_ = false;    // the root and slot not in use are not what they were
  absl::Status failure_;
};

}  // namespace rill
