#include "sdk/tools/synthetic_session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "model/convert/progress.h"
#include "model/graph/replay_ring.h"
#include "sdk/ladder.h"
#include "sdk/tools/load_model.h"

namespace rill::tools {
namespace {

// A sum of four uniforms, scaled to unit variance: close enough to a normal value.
float UnitVariance(uint64_t seed, uint64_t i) {
  float sum = -2;
  for (uint64_t j = 0; j < 4; ++j) sum += PhiloxUniform(seed, 4 * i + j);
  return sum * std::sqrt(3.0f);
}

std::vector<std::byte> RandomRows(uint64_t bytes, uint64_t seed) {
  std::vector<std::byte> rows(bytes);
  auto* values = reinterpret_cast<Bf16*>(rows.data());
  for (uint64_t i = 0; i < bytes / sizeof(Bf16); ++i) values[i] = ToBf16(UnitVariance(seed, i));
  return rows;
}

class Pages final : public StateSource {
 public:
  explicit Pages(const std::vector<std::byte>& rows) : rows_(rows), page_(rows.size()) {}

  absl::StatusOr<const std::byte*> Page(uint64_t index) override {
    const size_t values = rows_.size() / sizeof(Bf16);
    const size_t turn = sizeof(Bf16) * static_cast<size_t>(index * 2654435761u % values);
    std::rotate_copy(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(turn), rows_.end(),
                     page_.begin());
    return page_.data();
  }

 private:
  const std::vector<std::byte>& rows_;
  std::vector<std::byte> page_;
};

}  // namespace

int32_t SyntheticSession::Id(uint64_t position) const {
  const auto vocab = static_cast<float>(model_->config().vocab_size);
  return static_cast<int32_t>(PhiloxUniform(seed_, position) * vocab);
}

absl::StatusOr<SyntheticSession> SyntheticSession::Create(std::shared_ptr<const Model> model,
                                                          const SessionShape& shape,
                                                          const std::string& path, uint64_t seed) {
  SyntheticSession made(model, shape, seed);
  FileSystem& fs = *FileSystem::Posix();
  const auto n = static_cast<size_t>(2 * shape.rewind_window + 32);  // the ring is full
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = made.Id(i);
  SessionShape small = shape;
  small.max_tokens = static_cast<int64_t>(n);
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(std::move(model), small));
  RILL_RETURN_IF_ERROR(session->Append(ids, [](uint64_t, uint64_t) { return Interrupted(); }));
  RILL_RETURN_IF_ERROR(session->Save(fs, path, {Durability::kNone, false, true, {}}).status());
  RILL_ASSIGN_OR_RETURN(made.real_, SessionFile::Open(fs, path));
  made.rows_ = RandomRows(made.real_->geometry().page_bytes, seed);
  return made;
}

// What Session keeps of passes of prefill_chunk tokens, by its own ladder with blocks of no size.
absl::StatusOr<std::vector<RungContent>> SyntheticSession::Ladder(uint64_t tokens) const {
  const auto pool = BlockPool::Create(model_->device(), 64);
  RILL_ASSIGN_OR_RETURN(rill::Ladder ladder, rill::Ladder::Create(pool, shape_));
  const auto length = static_cast<int64_t>(tokens);
  const auto is_border = [&](int64_t p) { return p == length || p % shape_.prefill_chunk == 0; };
  for (int64_t start = 0; start < length; start += shape_.prefill_chunk) {
    const int64_t spacing = ladder.spacing();
    const int64_t last = std::min(start + shape_.prefill_chunk, length) / spacing * spacing;
    for (int64_t p = last - (rill::Ladder::kRecent - 1) * spacing; p <= last; p += spacing) {
      if (p <= start) continue;
      Rung rung;
      rung.position = p;
      rung.has_logits = is_border(p);
      RILL_ASSIGN_OR_RETURN(rung.state, ladder.NewBlock());
      ladder.Add(std::move(rung));
    }
  }
  std::vector<RungContent> rungs;
  for (const Rung& rung : ladder.rungs()) {
    RungContent& to = rungs.emplace_back();
    to.position = static_cast<uint64_t>(rung.position);
    to.fixed = real_->content().fixed;
    if (rung.has_logits) to.logits = real_->content().logits;
  }
  return rungs;
}

absl::Status SyntheticSession::Write(const std::string& path, uint64_t tokens,
                                     bool history) const {
  ProgressBar bar(stderr, absl::StrCat("rill-bench: write ", tokens, " tokens"), "B");
  const auto progress = [&bar](uint64_t done, uint64_t total) {
    bar.Update(done, total);
    return Interrupted();
  };
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = Id(i);
  Pages pages(rows_);
  SessionContent content = real_->content();
  content.tokens = ids;
  content.source = &pages;
  RILL_ASSIGN_OR_RETURN(const std::vector<RungContent> rungs, Ladder(tokens));
  content.ladder = rungs;
  const uint64_t recorded = std::min(content.ring.end - content.ring.first, tokens);
  content.ring.end = tokens;
  content.ring.first = tokens - recorded;
  // On the disk when this returns: the system's writing would disturb what is measured.
  return SaveSessionFile(*FileSystem::Posix(), path, real_->identity(), real_->geometry(), content,
                         {Durability::kData, history, history, progress});
}

}  // namespace rill::tools
