// sdk/session_file/tools.h — what one can do with *.rillstate files without a model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/io/file.h"
#include "sdk/session_file/save.h"
#include "sdk/session_file/session_file.h"

namespace rill {

struct SessionSegment {
  std::string_view kind;  // "pages", "tokens", "generation", "user blob", "rung", "ring"
  uint64_t generation = 0;
  uint64_t start = 0, count = 0;  // pages, or tokens; a rung's position
  uint64_t offset = 0, bytes = 0;
  uint64_t live_bytes = 0;  // the rest is superseded
  uint32_t flags = 0;       // of a rung
  uint64_t tag = 0;
};

struct SessionRoot {
  enum class State { kEmpty, kValid, kDamaged } state = State::kEmpty;
  uint64_t generation = 0, position = 0, log_end = 0;
};

// All of a file but its content.
struct SessionFileInfo {
  SessionIdentity identity;
  SessionGeometry geometry;
  uint64_t generation = 0, position = 0;
  Sha256Digest ledger{};  // of all tokens
  uint64_t file_bytes = 0, log_end = 0;
  uint64_t slack = 0;       // behind the log: what an unfinished flush left
  uint64_t superseded = 0;  // what a compaction gives back
  bool unfinished_flush = false;
  bool has_logits = false;
  SessionRoot roots[2];                  // A and B
  std::vector<SessionSegment> segments;  // in file order
};

// Reads the constant part, tokens and tables; pages and rungs are not touched, so a file with a
// damaged page still says what it is. Errors as SessionFile::Open.
absl::StatusOr<SessionFileInfo> InspectSessionFile(FileSystem& fs, const std::string& path);

// Every byte of the file: superseded pages and the older root and slot too. What an unfinished
// flush left is no damage. Errors as SessionFile::Open.
absl::Status VerifySessionFile(FileSystem& fs, const std::string& path,
                               const FileProgress& progress = {});

// The same content without what was superseded, as a save of it would have written it. Every byte
// of `from` is checked first. `to` may be `from`.
absl::StatusOr<WriteReport> CompactSessionFile(FileSystem& fs, const std::string& from,
                                               const std::string& to,
                                               const SaveOptions& options = {});

struct SessionFileDifference {
  std::vector<std::string> identity;  // names of the fields that differ
  uint64_t tokens_a = 0, tokens_b = 0;
  uint64_t common_tokens = 0;  // from the first on
};

absl::StatusOr<SessionFileDifference> DiffSessionFiles(FileSystem& fs, const std::string& a,
                                                       const std::string& b);

}  // namespace rill
