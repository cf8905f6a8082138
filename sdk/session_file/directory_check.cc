#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"
#include "sdk/session_file/directory.h"

namespace rill::session_file {
namespace {

absl::Status Wrong(std::string_view what, uint64_t found, uint64_t expected) {
  return absl::DataLossError(absl::StrCat(AbslView(what), " is ", found, ", expected ", expected));
}

// The meaning of a directory against the geometry, record by record.
class Checker {
 public:
  Checker(const BatchDirectory& d, const SessionGeometry& g) : d_(d), g_(g), end_(d.begin) {
    const uint64_t first = g.page_bytes == 0 ? 0 : d.kept / g.page_tokens;
    const uint64_t last = g.page_bytes == 0 ? 0 : d.position / g.page_tokens;
    first_page_ = first;
    n_pages_ = last > first ? last - first : 0;
  }

  absl::Status Run(uint64_t directory_offset) {
    RILL_RETURN_IF_ERROR(Head(directory_offset));
    for (const Record& r : d_.records) {
      const absl::Status status = Check(r);
      if (!status.ok()) {
        return absl::DataLossError(
            absl::StrCat("record of ", AbslView(Name(r.type)), ": ", status.message()));
      }
    }
    if (n_pages_ != seen_pages_) return Wrong("number of pages", seen_pages_, n_pages_);
    if (d_.position - d_.kept != seen_tokens_)
      return Wrong("number of tokens", seen_tokens_, d_.position - d_.kept);
    const uint64_t expected = AlignUp(end_, kSector);
    if (directory_offset != expected) return Wrong("offset", directory_offset, expected);
    return absl::OkStatus();
  }

 private:
  absl::Status Head(uint64_t directory_offset) const {
    if (d_.begin > directory_offset || directory_offset > kMaxFileBytes)
      return Wrong("begin", d_.begin, directory_offset);
    if (d_.begin % kSector != 0) return Wrong("begin modulo 4096", d_.begin % kSector, 0);
    if (d_.position > kMaxSessionTokens) return Wrong("position", d_.position, kMaxSessionTokens);
    if (d_.kept > d_.position) return Wrong("number of kept tokens", d_.kept, d_.position);
    if (d_.page_crcs.size() != n_pages_)
      return Wrong("number of page checksums", d_.page_crcs.size(), n_pages_);
    return absl::OkStatus();
  }

  absl::Status Check(const Record& r) {
    if (r.type < last_ || (r.type == last_ && r.type != RecordType::kRung))
      return absl::DataLossError("out of order");
    last_ = r.type;
    // end_ is at most the directory's offset so far, so the sums stay in range.
    const uint64_t expected = RecordOffset(r.type, end_);
    if (r.offset != expected) return Wrong("offset", r.offset, expected);
    RILL_RETURN_IF_ERROR(CheckSize(r));
    const auto end = CheckedAdd(r.offset, r.bytes);
    if (!end || *end > kMaxFileBytes) return Wrong("end", r.offset, kMaxFileBytes);
    end_ = *end;
    if (r.type != RecordType::kRung && (r.flags != 0 || r.tag != 0))
      return absl::DataLossError("flags that mean nothing");
    return absl::OkStatus();
  }

  absl::Status CheckSize(const Record& r) {
    switch (r.type) {
      case RecordType::kPages:
        if (r.start != first_page_) return Wrong("first page", r.start, first_page_);
        if (r.count != n_pages_ || r.count == 0) return Wrong("pages", r.count, n_pages_);
        if (r.crc != 0) return Wrong("checksum", r.crc, 0);
        seen_pages_ = r.count;
        return Product(r, g_.page_bytes);
      case RecordType::kTokens:
        if (r.start != d_.kept) return Wrong("first token", r.start, d_.kept);
        if (r.count == 0 || r.count != d_.position - d_.kept)
          return Wrong("tokens", r.count, d_.position - d_.kept);
        seen_tokens_ = r.count;
        return Product(r, sizeof(int32_t));
      case RecordType::kGeneration:
        return Opaque(r, kMaxGenerationBytes);
      case RecordType::kUserBlob:
        return Opaque(r, kMaxUserBlobBytes);
      case RecordType::kRung:
        return Rung(r);
      case RecordType::kRing:
        if (r.start > d_.position || r.count == 0 || r.count != d_.position - r.start ||
            r.count > g_.ring_slots)
          return Wrong("tokens", r.count, d_.position - r.start);
        return r.bytes <= g_.ring_bytes ? absl::OkStatus() : Wrong("size", r.bytes, g_.ring_bytes);
    }
    return Wrong("type", static_cast<uint32_t>(r.type), static_cast<uint32_t>(RecordType::kRing));
  }

  static absl::Status Product(const Record& r, uint64_t each) {
    const auto bytes = CheckedMul(r.count, each);
    if (!bytes || r.bytes != *bytes) return Wrong("size", r.bytes, bytes.value_or(0));
    return absl::OkStatus();
  }

  absl::Status Opaque(const Record& r, uint64_t limit) const {
    if (r.bytes > limit) return Wrong("size", r.bytes, limit);
    if (r.start != d_.position || r.count != 0) return Wrong("position", r.start, d_.position);
    return absl::OkStatus();
  }

  absl::Status Rung(const Record& r) {
    const Layout layout = MakeLayout(g_);
    if (r.bytes != layout.rung_bytes && r.bytes != g_.fixed_bytes)
      return Wrong("size", r.bytes, layout.rung_bytes);
    if (r.count != 0) return Wrong("count", r.count, 0);
    if (r.start > d_.position) return Wrong("position", r.start, d_.position);
    if (rungs_ > 0 && r.start <= last_rung_) return Wrong("position", r.start, last_rung_ + 1);
    if (++rungs_ > kMaxRungs) return Wrong("number of rungs", rungs_, kMaxRungs);
    last_rung_ = r.start;
    return absl::OkStatus();
  }

  static constexpr uint64_t kMaxFileBytes = uint64_t{1} << 62;

  const BatchDirectory& d_;
  const SessionGeometry& g_;
  uint64_t end_;
  uint64_t first_page_ = 0, n_pages_ = 0;
  uint64_t seen_pages_ = 0, seen_tokens_ = 0;
  uint64_t rungs_ = 0, last_rung_ = 0;
  RecordType last_{};
};

}  // namespace

absl::Status CheckDirectory(const BatchDirectory& directory, uint64_t offset,
                            const SessionGeometry& geometry) {
  return Checker(directory, geometry).Run(offset);
}

}  // namespace rill::session_file
