// The checks of bytes against their checksums: what Parse() needs at once, and all the rest.
#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/io/crc32c.h"
#include "sdk/session_file/batch.h"
#include "sdk/session_file/parse.h"

namespace rill::session_file {
namespace {

absl::Status CheckZeros(const ParsedFile& file, uint64_t begin, uint64_t end) {
  if (AllZero(file.at(begin), static_cast<size_t>(end - begin))) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the padding from ", begin, " to ", end, " is not zero"));
}

// The root and slot before the newest ones, which the next flush will write over.
absl::Status CheckOlder(const ParsedFile& file) {
  if (file.unfinished) return absl::OkStatus();
  const int index = 1 - file.state.root.index();
  const RootInfo& older = file.roots[index];
  const uint64_t offset = file.state.layout.slot(index);
  if (older.state == RecordState::kZero)
    return CheckZeros(file, offset, offset + file.state.layout.slot_bytes);
  RILL_RETURN_IF_ERROR(CheckSlot(file, older.root));
  // Both roots are valid, so this generation has one before it.
  const BatchDirectory& newest = file.batches.back();
  const BatchDirectory& before = file.batches[file.batches.size() - 2];
  const Root& root = older.root;
  if (root.log_end != newest.begin || root.directory_offset != newest.previous_offset ||
      root.directory_bytes != newest.previous_bytes || root.directory_crc != newest.previous_crc ||
      root.position != before.position || root.ledger != before.ledger) {
    return absl::DataLossError("the older root does not lead to the batch before the newest");
  }
  return absl::OkStatus();
}

// Says how far it got, and asks whether to go on.
class Watch {
 public:
  Watch(const FileProgress& progress, uint64_t total) : progress_(progress), total_(total) {}
  absl::Status Reached(uint64_t offset) const {
    if (progress_ && progress_(offset, total_))
      return absl::CancelledError("checking the session file was cancelled");
    return absl::OkStatus();
  }

 private:
  const FileProgress& progress_;
  const uint64_t total_;
};

absl::Status CheckBatch(const ParsedFile& file, const BatchDirectory& batch, const Watch& watch) {
  uint64_t end = batch.begin;
  for (const Record& r : batch.records) {
    RILL_RETURN_IF_ERROR(CheckZeros(file, end, r.offset));
    end = r.offset + r.bytes;
    if (r.type != RecordType::kPages) {
      RILL_RETURN_IF_ERROR(CheckRecord(file, r));
      RILL_RETURN_IF_ERROR(watch.Reached(end));
      continue;
    }
    const uint64_t page_bytes = file.state.header.geometry.page_bytes;
    for (uint64_t i = 0; i < r.count; ++i) {
      RILL_RETURN_IF_ERROR(
          CheckPage(file, r.start + i, {r.offset + i * page_bytes, batch.page_crcs[i]}));
      RILL_RETURN_IF_ERROR(watch.Reached(r.offset + (i + 1) * page_bytes));
    }
  }
  RILL_RETURN_IF_ERROR(CheckZeros(file, end, AlignUp(end, kSector)));
  return watch.Reached(LogEnd(batch));  // its directory was checked when it was read
}

}  // namespace

absl::Status CheckSlot(const ParsedFile& file, const Root& root) {
  const uint64_t offset = file.state.layout.slot(root.index());
  const uint32_t crc = Crc32c(file.at(offset), static_cast<size_t>(file.state.layout.slot_bytes));
  if (crc == root.slot_crc) return absl::OkStatus();
  return BadChecksum(root.index() == 0 ? "state slot A" : "state slot B", offset, crc,
                     root.slot_crc);
}

absl::Status CheckRecord(const ParsedFile& file, const Record& r) {
  const uint32_t crc = Crc32c(file.at(r.offset), static_cast<size_t>(r.bytes));
  return crc == r.crc ? absl::OkStatus() : BadChecksum(Name(r.type), r.offset, crc, r.crc);
}

absl::Status CheckPage(const ParsedFile& file, uint64_t index, const PageRef& page) {
  const uint32_t crc =
      Crc32c(file.at(page.offset), static_cast<size_t>(file.state.header.geometry.page_bytes));
  if (crc == page.crc) return absl::OkStatus();
  return BadChecksum(absl::StrCat("page ", index), page.offset, crc, page.crc);
}

absl::Status CheckRest(const ParsedFile& file, const FileProgress& progress) {
  const Layout& layout = file.state.layout;
  const Watch watch(progress, file.state.root.log_end);
  RILL_RETURN_IF_ERROR(CheckOlder(file));
  RILL_RETURN_IF_ERROR(CheckZeros(file, layout.slot(1) + layout.slot_bytes, layout.log_begin));
  RILL_RETURN_IF_ERROR(watch.Reached(layout.log_begin));
  for (const BatchDirectory& batch : file.batches)
    RILL_RETURN_IF_ERROR(CheckBatch(file, batch, watch));
  return absl::OkStatus();
}

}  // namespace rill::session_file
