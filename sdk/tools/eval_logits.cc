#include <algorithm>
#include <bit>

#include "kernels/base/status.h"
#include "model/io/atomic_write.h"
#include "sdk/session.h"
#include "sdk/tools/eval.h"
#include "sdk/tools/load_model.h"
#include "sdk/tools/token_ids.h"

namespace rill::tools {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");

constexpr uint64_t kMaxIdsFile = uint64_t{64} << 20;

absl::StatusOr<std::vector<int32_t>> ReadIds(const std::string& path, int64_t vocab_size) {
  RILL_ASSIGN_OR_RETURN(const std::string text,
                        ReadWholeFile(*FileSystem::Posix(), path, kMaxIdsFile));
  auto ids = ParseTokenIds(text, vocab_size);
  if (!ids.ok())
    return absl::Status(ids.status().code(), absl::StrCat(path, ": ", ids.status().message()));
  return ids;
}

// Keeps the first failed write, which a sink has no other way to report.
class RowWriter {
 public:
  explicit RowWriter(AtomicFile& file) : file_(file) {}
  void Write(absl::Span<const float> row) {
    if (status_.ok()) status_ = file_.Append(row.data(), row.size() * sizeof(float));
  }
  const absl::Status& status() const { return status_; }

 private:
  AtomicFile& file_;
  absl::Status status_;
};

absl::Status Prefill(Session& session, absl::Span<const int32_t> ids, RowWriter& rows) {
  const absl::Status status = session.Append(
      ids, [&rows](uint64_t, uint64_t) { return Interrupted() || !rows.status().ok(); },
      [&rows](uint64_t, absl::Span<const float> logits) { rows.Write(logits); });
  return rows.status().ok() ? status : rows.status();
}

absl::Status StepThrough(Session& session, absl::Span<const int32_t> ids, RowWriter& rows) {
  for (const int32_t id : ids) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    RILL_RETURN_IF_ERROR(session.Step(id));
    RILL_ASSIGN_OR_RETURN(const absl::Span<const float> logits, session.Logits());
    rows.Write(logits);
    RILL_RETURN_IF_ERROR(rows.status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteLogits(std::shared_ptr<const Model> model, const LogitsOptions& options) {
  RILL_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                        ReadIds(options.ids_path, model->config().vocab_size));
  const auto n = static_cast<int64_t>(ids.size());
  const auto prefill = static_cast<size_t>(options.prefill < 0 ? n : std::min(options.prefill, n));
  const SessionShape shape{n, options.prefill_chunk, options.mla_dtype};
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(std::move(model), shape));
  RILL_ASSIGN_OR_RETURN(const auto file,
                        AtomicFile::Create(*FileSystem::Posix(), options.out_path));
  RowWriter rows(*file);
  const absl::Span<const int32_t> all(ids);
  if (prefill > 0) RILL_RETURN_IF_ERROR(Prefill(*session, all.first(prefill), rows));
  RILL_RETURN_IF_ERROR(StepThrough(*session, all.subspan(prefill), rows));
  return file->Commit();
}

}  // namespace rill::tools
