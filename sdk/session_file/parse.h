// sdk/session_file/parse.h — reads a *.rillstate file and believes nothing in it before it is
// checked.
//
// Order: size, header, identity, roots, slot, chain of directories (each against the checksum that
// the next one or the root has of it), tokens, prefix hashes. Numbers reach an allocation or a
// pointer only after that, and are bounded by the size of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "model/io/file.h"
#include "sdk/session_file/directory.h"
#include "sdk/session_file/image.h"
#include "sdk/session_file/save.h"

namespace rill::session_file {

struct RootInfo {
  RecordState state = RecordState::kZero;
  Root root;
};

struct ParsedFile {
  FileState state;  // of the newest generation that is whole
  std::shared_ptr<const FileImage> image;
  std::vector<BatchDirectory> batches;  // oldest first
  Sector front[3];                      // the header and roots as they are
  RootInfo roots[2];
  uint64_t file_bytes = 0;
  // A flush did not come to its end: the root and slot that are not `state.root`'s may be anything.
  bool unfinished = false;

  uint64_t slack() const { return file_bytes - state.root.log_end; }
  const std::byte* at(uint64_t offset) const { return image->data() + offset; }
};

struct ParseLimits {
  const SessionIdentity* identity = nullptr;
  const SessionGeometry* geometry = nullptr;
  uint64_t max_tokens = kMaxSessionTokens;
  uint64_t max_copy_bytes = 0;
};

// Checks the constant part, tokens, generation state and user blob.
absl::StatusOr<ParsedFile> Parse(const ReadableFile& file, const ParseLimits& limits);

// Every other byte: pages and rungs (superseded ones too), the older root and slot, all padding.
// What an unfinished flush left is no damage and not looked at.
absl::Status CheckRest(const ParsedFile& file, const FileProgress& progress);

absl::Status CheckSlot(const ParsedFile& file, const Root& root);
absl::Status CheckRecord(const ParsedFile& file, const Record& record);  // but for kPages
absl::Status CheckPage(const ParsedFile& file, uint64_t index, const PageRef& page);

}  // namespace rill::session_file
