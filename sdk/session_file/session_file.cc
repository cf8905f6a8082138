#include "sdk/session_file/session_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"

namespace rill {

using session_file::Layout;
using session_file::PageRef;
using session_file::Record;
using session_file::Root;
using session_file::Timeline;

absl::StatusOr<std::shared_ptr<const SessionFile>> SessionFile::Open(
    FileSystem& fs, const std::string& path, const OpenSessionOptions& options) {
  std::shared_ptr<SessionFile> file(new SessionFile);
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> readable, fs.OpenForReading(path));
  auto parsed = session_file::Parse(
      *readable, {options.identity, options.geometry, options.max_tokens, options.max_copy_bytes});
  absl::Status status = parsed.status();
  if (status.ok() && !options.lazy) status = session_file::CheckRest(*parsed, options.progress);
  if (!status.ok()) {
    absl::Status named(status.code(), absl::StrCat(path, ": ", status.message()));
    status.ForEachPayload(
        [&](absl::string_view url, const absl::Cord& payload) { named.SetPayload(url, payload); });
    return named;
  }
  file->parsed_ = *std::move(parsed);
  file->MakeContent();
  return std::shared_ptr<const SessionFile>(std::move(file));
}

void SessionFile::MakeContent() {
  const SessionGeometry& g = geometry();
  const Layout& layout = parsed_.state.layout;
  const Timeline& timeline = parsed_.state.timeline;
  const auto fixed_bytes = static_cast<size_t>(g.fixed_bytes);
  for (const Record& r : timeline.rungs) {
    const std::byte* at = parsed_.at(r.offset);
    RungContent rung{r.start, r.flags, r.tag, {at, fixed_bytes}, {}};
    if (r.bytes == layout.rung_bytes)
      rung.logits = {reinterpret_cast<const float*>(at + layout.rung_logits_offset), g.vocab_size};
    ladder_.push_back(rung);
  }
  const RungContent now = StateInSlot(parsed_.state.root);
  content_.tokens = timeline.ledger.tokens();
  content_.source = &source_;
  content_.fixed = now.fixed;
  content_.logits = now.logits;
  content_.ladder = ladder_;
  if (HasPrevious()) previous_ = StateInSlot(older().root);
  const Record& ring = timeline.ring;
  if (ring.count > 0) {
    content_.ring = {ring.start,
                     ring.start + ring.count,
                     {parsed_.at(ring.offset), static_cast<size_t>(ring.bytes)}};
  }
  const auto text = [&](const Record& r) {
    if (r.bytes == 0) return std::string_view();
    return std::string_view(reinterpret_cast<const char*>(parsed_.at(r.offset)),
                            static_cast<size_t>(r.bytes));
  };
  content_.generation = text(timeline.generation);
  content_.user_blob = text(timeline.user_blob);
}

RungContent SessionFile::StateInSlot(const Root& root) const {
  const Layout& layout = parsed_.state.layout;
  const std::byte* slot = parsed_.at(layout.slot(root.index()));
  RungContent state;
  state.position = root.position;
  state.fixed = {slot + layout.fixed_offset, static_cast<size_t>(geometry().fixed_bytes)};
  if (root.has_logits) {
    state.logits = {reinterpret_cast<const float*>(slot + layout.logits_offset),
                    geometry().vocab_size};
  }
  return state;
}

bool SessionFile::HasPrevious() const {
  const Root& root = older().root;
  if (parsed_.unfinished || older().state != session_file::RecordState::kValid) return false;
  return root.position > 0 && root.position < position() &&
         root.position <= parsed_.batches.back().kept &&
         root.ledger == parsed_.state.timeline.ledger.Hash(root.position);
}

absl::Status SessionFile::CheckPrevious() const {
  if (!previous_) return absl::OkStatus();
  return session_file::CheckSlot(parsed_, older().root);
}

absl::StatusOr<const std::byte*> SessionFile::Page(uint64_t index) const {
  const std::vector<PageRef>& pages = parsed_.state.timeline.pages;
  if (index < pages.size()) return parsed_.at(pages[static_cast<size_t>(index)].offset);
  if (index == pages.size() && geometry().page_bytes > 0 &&
      position() % geometry().page_tokens != 0) {
    return parsed_.at(parsed_.state.layout.slot(parsed_.state.root.index()));
  }
  return absl::OutOfRangeError(absl::StrCat("page ", index, " of a session of ", position(),
                                            " tokens, ", geometry().page_tokens, " to a page"));
}

absl::Status SessionFile::CheckPage(uint64_t index) const {
  RILL_RETURN_IF_ERROR(Page(index).status());
  if (index == full_pages()) return absl::OkStatus();
  return session_file::CheckPage(parsed_, index,
                                 parsed_.state.timeline.pages[static_cast<size_t>(index)]);
}

absl::Status SessionFile::CheckRung(size_t index) const {
  const std::vector<Record>& rungs = parsed_.state.timeline.rungs;
  if (index >= rungs.size())
    return absl::OutOfRangeError(absl::StrCat("rung ", index, " of ", rungs.size()));
  return session_file::CheckRecord(parsed_, rungs[index]);
}

absl::Status SessionFile::CheckRing() const {
  const Record& ring = parsed_.state.timeline.ring;
  return ring.count == 0 ? absl::OkStatus() : session_file::CheckRecord(parsed_, ring);
}

void SessionFile::Prefetch(uint64_t first, uint64_t count) const {
  const std::vector<PageRef>& pages = parsed_.state.timeline.pages;
  if (first >= pages.size()) return;
  const uint64_t end = first + std::min<uint64_t>(count, pages.size() - first);
  const uint64_t page_bytes = geometry().page_bytes;
  for (uint64_t i = first; i < end;) {  // one hint for each run of neighbours
    uint64_t next = i + 1;
    while (next < end && pages[next].offset == pages[next - 1].offset + page_bytes) ++next;
    parsed_.image->WillNeed(pages[i].offset, (next - i) * page_bytes);
    i = next;
  }
}

}  // namespace rill
