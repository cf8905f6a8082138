// sdk/session_file/session_file.h — opens a *.rillstate file for reading.
//
//   auto file = SessionFile::Open(fs, "chat.rillstate", {.identity = &mine});
//   SessionContent content = (*file)->content();   // pointers into the mapped file
//
// Open() is ready when the constant part is checked; with `lazy` no page is touched before it is
// asked for. The file must not be changed by others while it is open. An attached flush of our own
// (attached.h) may: it never changes pages and rungs, but it does write over state slots, so what
// content().fixed, content().logits, previous() and the last, partly filled page point to is to be
// copied before the first flush.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/io/file.h"
#include "sdk/session_file/content.h"
#include "sdk/session_file/output.h"
#include "sdk/session_file/parse.h"

namespace rill {

struct OpenSessionOptions {
  // What the file must be; where null, every file that is whole is opened. A session whose ring has
  // another size compares with CheckGeometry itself.
  const SessionIdentity* identity = nullptr;
  const SessionGeometry* geometry = nullptr;
  // Leaves pages, rungs, the ring, the older slot and padding unchecked: ask CheckPage, CheckRung,
  // CheckRing and CheckPrevious before use. Otherwise every byte of the file is checked.
  bool lazy = false;
  uint64_t max_tokens = kMaxSessionTokens;
  uint64_t max_copy_bytes = uint64_t{4} << 30;  // where files cannot be mapped
  FileProgress progress;                        // of the check that `lazy` leaves out
};

class SessionFile {  // Thread-safe: const.
 public:
  // NotFound and the like as model/io/file.h says. InvalidArgument: not a session file.
  // FailedPrecondition: another version; or a mismatch, which MismatchedField() names.
  // DataLoss: truncated (both lengths) or damaged (section, offset, both checksums).
  // ResourceExhausted: beyond one of the limits above. Cancelled.
  static absl::StatusOr<std::shared_ptr<const SessionFile>> Open(
      FileSystem& fs, const std::string& path, const OpenSessionOptions& options = {});

  const SessionIdentity& identity() const { return parsed_.state.header.identity; }
  const SessionGeometry& geometry() const { return parsed_.state.header.geometry; }
  uint64_t generation() const { return parsed_.state.root.generation; }
  uint64_t position() const { return parsed_.state.root.position; }

  // Spans and the source point into this object or memory(), the tokens into this object.
  SessionContent content() const { return content_; }
  // The file's bytes; pages and rungs stay valid as long as this is held, whatever becomes of the
  // SessionFile.
  std::shared_ptr<const void> memory() const { return parsed_.image; }
  bool mapped() const { return parsed_.image->mapped(); }

  // Page `index` of ceil(position / page_tokens); the last may be partly filled and then stands in
  // a slot (see above). Full pages lie at multiples of 16 KiB. OutOfRange names both numbers.
  absl::StatusOr<const std::byte*> Page(uint64_t index) const;
  uint64_t full_pages() const { return parsed_.state.timeline.pages.size(); }
  // DataLoss as Open() would have said without `lazy`. A page in a slot was checked.
  absl::Status CheckPage(uint64_t index) const;
  absl::Status CheckRung(size_t index) const;  // of content().ladder
  absl::Status CheckRing() const;

  // The session as the flush before the last one left it, where its tokens are a beginning of these
  // and not all of them: a checkpoint that takes no room of its own, since it lies in the other
  // slot (see above). Null where there is none. CheckPrevious() as CheckRung().
  const RungContent* previous() const { return previous_ ? &*previous_ : nullptr; }
  absl::Status CheckPrevious() const;

  // Asks the system to read full pages [first, first + count) ahead: a hint.
  void Prefetch(uint64_t first, uint64_t count) const;

  // An unfinished flush was found and left behind; this is the content from before it.
  bool unfinished_flush() const { return parsed_.unfinished; }

  const session_file::ParsedFile& parsed() const { return parsed_; }

 private:
  class Source final : public StateSource {
   public:
    explicit Source(const SessionFile& file) : file_(file) {}
    absl::StatusOr<const std::byte*> Page(uint64_t index) override { return file_.Page(index); }

   private:
    const SessionFile& file_;
  };

  SessionFile() : source_(*this) {}
  void MakeContent();
  RungContent StateInSlot(const session_file::Root& root) const;
  const session_file::RootInfo& older() const {
    return parsed_.roots[1 - parsed_.state.root.index()];
  }
  bool HasPrevious() const;

  session_file::ParsedFile parsed_;
  std::vector<RungContent> ladder_;
  std::optional<RungContent> previous_;
  SessionContent content_;
  mutable Source source_;  // has no state: a StateSource is not const for the sake of those that do
};

}  // namespace rill
