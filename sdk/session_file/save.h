// sdk/session_file/save.h — a whole session into a new *.rillstate file, in one step.
//
// Two savers of one path at the same time: the later one wins, the earlier one fails.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/io/atomic_write.h"
#include "model/io/file.h"
#include "sdk/session_file/batch.h"
#include "sdk/session_file/content.h"
#include "sdk/session_file/output.h"
#include "sdk/session_file/timeline.h"

namespace rill {

struct SaveOptions {
  Durability durability = Durability::kFull;
  bool with_ladder = true;  // the rungs: fixed_bytes each
  bool with_ring = true;
  FileProgress progress;  // asked before every write, on the calling thread
};

// Replaces `path` (see model/io/atomic_write.h): after any error it holds what it held and no
// temporary file is left, except that a failed sync of the folder leaves the new content there.
// Errors: InvalidArgument and ResourceExhausted as Validate* in content.h say; Cancelled; what the
// file system or the source answered. Memory: 4 bytes per page and the ledger (5 bytes per token).
absl::Status SaveSessionFile(FileSystem& fs, const std::string& path,
                             const SessionIdentity& identity, const SessionGeometry& geometry,
                             const SessionContent& content, const SaveOptions& options = {},
                             WriteReport* report = nullptr);

// The same bytes to a callback, first to last. The source is asked twice for every page and rung,
// as checksums stand before what they check; Aborted when it answers otherwise the second time.
// `durability` means nothing here.
absl::Status WriteSession(const SessionIdentity& identity, const SessionGeometry& geometry,
                          const SessionContent& content, const SaveOptions& options, ByteSink sink,
                          WriteReport* report = nullptr);

// Size of the file that a save of this content makes.
absl::StatusOr<uint64_t> SessionFileBytes(const SessionGeometry& geometry,
                                          const SessionContent& content,
                                          const SaveOptions& options = {});

namespace session_file {

// All that is known of a file whose newest generation was written or read whole.
struct FileState {
  Header header;
  Layout layout;
  Root root;
  Timeline timeline;
};

// SaveSessionFile, and what a following flush has to know.
absl::StatusOr<FileState> SaveAndKeep(FileSystem& fs, const std::string& path,
                                      const SessionIdentity& identity,
                                      const SessionGeometry& geometry,
                                      const SessionContent& content, const SaveOptions& options,
                                      WriteReport* report);

}  // namespace session_file
}  // namespace rill
