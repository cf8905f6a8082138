#include "sdk/ladder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr int64_t kDefaultSpacing = 64;  // where there is no replay ring to serve
constexpr double kBorderWeight = 4;      // a border is kept as long as a plain rung of four times the gap

bool Before(const Rung& rung, int64_t position) { return rung.position < position; }

}  // namespace

absl::StatusOr<Ladder> Ladder::Create(std::shared_ptr<BlockPool> pool, const SessionShape& shape) {
  Ladder ladder;
  ladder.pool_ = std::move(pool);
  ladder.spacing_ = shape.rewind_window > 0 ? shape.rewind_window : kDefaultSpacing;
  ladder.capacity_ = static_cast<size_t>(shape.ladder_slots - kSpare);
  ladder.rungs_.reserve(ladder.capacity_ + 1);
  RILL_ASSIGN_OR_RETURN(ladder.reservation_, ladder.pool_->Reserve(static_cast<size_t>(shape.ladder_slots)));
  return ladder;
}

absl::StatusOr<BlockRef> Ladder::NewBlock() {
  BlockRef block = pool_->Take();
  if (block.empty()) return absl::InternalError(absl::StrCat("ladder: no block left beside ", rungs_.size(), " rungs"));
  return block;
}

void Ladder::Add(Rung rung) {
  const auto at = std::lower_bound(rungs_.begin(), rungs_.end(), rung.position, Before);
  if (at == rungs_.end() || at->position != rung.position) {
    rungs_.insert(at, std::move(rung));
    if (rungs_.size() > capacity_) GiveOneUp();
    return;
  }
  if (rung.kind >= at->kind) at->kind = rung.kind, at->tag = rung.tag;
  if (!rung.has_logits || at->has_logits) return;
  at->state = std::move(rung.state);
  at->has_logits = true;
}

absl::Status Ladder::CanMark(int64_t position) const {
  const auto marks = std::count_if(rungs_.begin(), rungs_.end(), [&](const Rung& r) {
    return r.kind == RungKind::kMark && r.position != position;
  });
  const int64_t most = static_cast<int64_t>(capacity_) - kRecent - 1;
  if (marks < most) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("mark at ", position, ": ", marks, " marks are held, a ladder of ",
                                                   capacity_ + kSpare, " slots takes ", most));
}

void Ladder::Unmark(uint64_t tag) {
  for (Rung& rung : rungs_) {
    if (rung.kind == RungKind::kMark && rung.tag == tag) rung.kind = RungKind::kBorder, rung.tag = 0;
  }
}

// Marks never; nor the newest, nor what the replay ring starts from.
bool Ladder::Replaceable(size_t i) const {
  const int64_t newest = rungs_.back().position;
  const Rung& rung = rungs_[i];
  if (rung.kind == RungKind::kMark || i + 1 == rungs_.size()) return false;
  return rung.position % spacing_ != 0 || rung.position <= (newest / spacing_ - kRecent) * spacing_;
}

void Ladder::GiveOneUp() {
  const int64_t newest = rungs_.back().position;
  size_t least = 0;
  double least_cost = -1;
  for (size_t i = 0; i + 1 < rungs_.size(); ++i) {
    if (!Replaceable(i)) continue;
    const int64_t below = i == 0 ? 0 : rungs_[i - 1].position;
    const double gap = static_cast<double>(rungs_[i + 1].position - below);
    const double age = static_cast<double>(newest - rungs_[i].position + spacing_);
    const double cost = gap / age * (rungs_[i].kind == RungKind::kBorder ? kBorderWeight : 1);
    if (least_cost < 0 || cost < least_cost) least = i, least_cost = cost;
  }
  rungs_.erase(rungs_.begin() + static_cast<std::ptrdiff_t>(least));
}

const Rung* Ladder::AtOrBelow(int64_t position) const {
  const auto above = std::lower_bound(rungs_.begin(), rungs_.end(), position + 1, Before);
  return above == rungs_.begin() ? nullptr : &*std::prev(above);
}

const Rung* Ladder::Find(int64_t position) const {
  const Rung* rung = AtOrBelow(position);
  return rung != nullptr && rung->position == position ? rung : nullptr;
}

void Ladder::Drop(int64_t position) {
  const auto at = std::lower_bound(rungs_.begin(), rungs_.end(), position, Before);
  if (at != rungs_.end() && at->position == position) rungs_.erase(at);
}

void Ladder::DropAbove(int64_t position) {
  while (!rungs_.empty() && rungs_.back().position > position) rungs_.pop_back();
}

void Ladder::Share(const Ladder& other, int64_t up_to) {
  rungs_.clear();
  for (const Rung& rung : other.rungs_) {
    if (rung.position <= up_to) rungs_.push_back(rung);
  }
  while (rungs_.size() > capacity_) GiveOneUp();
}

}  // namespace rill
