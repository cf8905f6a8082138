#include "model/graph/state.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/graph/scratch.h"

namespace rill {
namespace {

constexpr uint64_t kPageAlignment = 16 << 10;  // the largest memory page of the platforms we run on

// The offset of the next tensor of the constant-size part.
uint64_t Place(uint64_t bytes, StateLayout* layout) {
  const uint64_t begin = layout->fixed_bytes, end = begin + bytes;
  layout->fixed_bytes = AlignUp(end, Scratch::kAlignment);
  if (layout->fixed_bytes > end) layout->gaps.push_back({end, layout->fixed_bytes - end});
  return begin;
}

uint64_t PageCount(const SessionShape& shape) { return static_cast<uint64_t>(CeilDiv(shape.max_tokens, kPageTokens)); }

}  // namespace

StateLayout StateLayout::Make(const ModelConfig& c, DType mla_dtype) {
  StateLayout layout;
  layout.kda.resize(c.layers.size());
  layout.mla_offset.resize(c.layers.size());
  const uint64_t state = 4ull * c.kda_heads * c.kda_head_dim * c.kda_head_dim;
  const uint64_t tail = 4ull * 3 * c.kda_width() * (c.conv_width - 1);
  const uint64_t rows = static_cast<uint64_t>(kPageTokens * c.mla_row() * SizeOf(mla_dtype));
  for (size_t l = 0; l < c.layers.size(); ++l) {
    if (c.layers[l].mixer == MixerKind::kKda) {
      layout.kda[l].recurrent = Place(state, &layout);
      layout.kda[l].tail = Place(tail, &layout);
    } else {
      layout.mla_offset[l] = layout.page_bytes;
      layout.page_bytes += rows;
    }
  }
  layout.page_bytes = AlignUp(layout.page_bytes, kPageAlignment);
  layout.rung_bytes = layout.fixed_bytes + AlignUp(4ull * static_cast<uint64_t>(c.vocab_size), Scratch::kAlignment);
  return layout;
}

SequenceState::SequenceState(Device& device, const ModelConfig& config, const SessionShape& shape)
    : device_(device), config_(config), shape_(shape), layout_(StateLayout::Make(config, shape.mla_dtype)) {}

absl::StatusOr<std::unique_ptr<SequenceState>> SequenceState::Create(Device& device, const ModelConfig& config,
                                                                     const SessionShape& shape,
                                                                     std::shared_ptr<BlockPool> pages) {
  RILL_RETURN_IF_ERROR(Validate(shape));
  std::unique_ptr<SequenceState> state(new SequenceState(device, config, shape));
  RILL_RETURN_IF_ERROR(state->AllocateBuffers(std::move(pages)));
  RILL_RETURN_IF_ERROR(state->Reset());
  return state;
}

absl::Status SequenceState::AllocateBuffers(std::shared_ptr<BlockPool> pages) {
  const uint64_t n_pages = layout_.page_bytes == 0 ? 0 : PageCount(shape_);
  RILL_ASSIGN_OR_RETURN(fixed_, Buffer::Allocate(device_, layout_.fixed_bytes));
  RILL_ASSIGN_OR_RETURN(ring_, ReplayRing::Create(device_, config_, ReplayWindow(device_, shape_)));
  pool_ = pages != nullptr ? std::move(pages) : BlockPool::Create(device_, layout_.page_bytes);
  if (n_pages == 0) return absl::OkStatus();
  RILL_ASSIGN_OR_RETURN(reservation_, pool_->Reserve(n_pages));
  page_refs_.reserve(n_pages);
  pages_.resize(n_pages);
  if (device_.is_host()) return absl::OkStatus();
  RILL_ASSIGN_OR_RETURN(table_, Buffer::Allocate(device_, n_pages * sizeof(void*)));
  return device_.CopyIn(table_.data(), pages_.data(), table_.bytes());
}

absl::Status SequenceState::SetPage(size_t page, BlockRef ref) {
  pages_[page] = ref.data();
  if (page < page_refs_.size()) {
    page_refs_[page] = std::move(ref);
  } else {
    page_refs_.push_back(std::move(ref));
  }
  if (device_.is_host()) return absl::OkStatus();
  return device_.CopyIn(table_.as<void*>() + page, &pages_[page], sizeof(void*));
}

absl::Status SequenceState::PrepareToWrite(int64_t n_tokens) {
  if (layout_.page_bytes == 0) return absl::OkStatus();
  const size_t end = static_cast<size_t>(CeilDiv(position_ + n_tokens, kPageTokens));
  for (size_t page = static_cast<size_t>(position_ / kPageTokens); page < end; ++page) {
    const bool there = page < page_refs_.size();
    if (there && page_refs_[page].writable()) continue;
    BlockRef fresh = pool_->Take();
    if (fresh.empty()) {
      return absl::InternalError(absl::StrCat("page ", page, " of ", pages_.size(), ": the pool has none left"));
    }
    if (there) {  // rows after the position may be wanted too: a rewind that is cancelled goes back to them
      RILL_RETURN_IF_ERROR(device_.CopyOn(fresh.data(), page_refs_[page].data(), layout_.page_bytes));
    }
    RILL_RETURN_IF_ERROR(SetPage(page, std::move(fresh)));
  }
  return absl::OkStatus();
}

void SequenceState::DropPagesAfter(int64_t position) {
  if (layout_.page_bytes == 0) return;
  page_refs_.resize(std::min(page_refs_.size(), static_cast<size_t>(CeilDiv(position, kPageTokens))));
}

absl::Status SequenceState::Assume(int64_t position, const void* fixed, absl::Span<const BlockRef> pages) {
  for (size_t page = 0; page < pages.size(); ++page) RILL_RETURN_IF_ERROR(SetPage(page, pages[page]));
  RILL_RETURN_IF_ERROR(GoBack(position, fixed));
  DropPages();
  ring_.Forget(position);
  return absl::OkStatus();
}

absl::Status SequenceState::GoBack(int64_t position, const void* fixed) {
  if (fixed_.bytes() > 0 && fixed != fixed_.data()) {
    RILL_RETURN_IF_ERROR(device_.CopyOn(fixed_.data(), fixed, fixed_.bytes()));
  }
  ring_.GoBack(position_, position);
  position_ = position;
  return absl::OkStatus();
}

absl::Status SequenceState::GoBackToStart() {
  if (fixed_.bytes() > 0) RILL_RETURN_IF_ERROR(device_.Fill(fixed_.data(), 0, fixed_.bytes()));
  return GoBack(0, fixed_.data());
}

absl::Status SequenceState::ClearGaps(void* fixed) const {
  for (const StateLayout::Gap& gap : layout_.gaps) {
    RILL_RETURN_IF_ERROR(device_.Fill(static_cast<char*>(fixed) + gap.offset, 0, gap.bytes));
  }
  return absl::OkStatus();
}

KdaState SequenceState::KdaIn(int64_t layer, void* fixed) const {
  const int64_t H = config_.kda_heads, K = config_.kda_head_dim;
  char* base = static_cast<char*>(fixed);
  KdaState state;
  state.recurrent = F32View(reinterpret_cast<float*>(base + layout_.kda[layer].recurrent), H, K, K);
  state.tail = F32View(reinterpret_cast<float*>(base + layout_.kda[layer].tail), 3 * H * K, config_.conv_width - 1);
  return state;
}

KdaState SequenceState::kda(int64_t layer) const {
  KdaState state = KdaIn(layer, fixed_.data());
  state.ring = ring_.records(layer);
  for (int i = 0; i < 3; ++i) state.conv_ring[i] = ring_.conv_inputs(layer, i);
  return state;
}

absl::Span<const BlockRef> SequenceState::pages() const {
  const size_t used = static_cast<size_t>(CeilDiv(position_, kPageTokens));
  return absl::MakeConstSpan(page_refs_.data(), std::min(used, page_refs_.size()));
}

MlaCacheView SequenceState::mla(int64_t layer) const {
  void* const* pages = device_.is_host() ? pages_.data() : table_.as<void*>();
  return {shape_.mla_dtype, config_.kv_lora_rank, config_.qk_rope_dim, pages, layout_.mla_offset[layer]};
}

uint64_t SequenceState::allocated_bytes() const {
  return fixed_.bytes() + reservation_.bytes() + table_.bytes() + ring_.buffer().bytes();
}

absl::Status SequenceState::Reset() {
  position_ = 0;
  page_refs_.clear();
  ring_.Forget(0);
  if (fixed_.bytes() == 0) return absl::OkStatus();
  return device_.Fill(fixed_.data(), 0, fixed_.bytes());
}

absl::StatusOr<std::unique_ptr<SequenceState>> SequenceState::Clone() const {
  std::unique_ptr<SequenceState> copy(new SequenceState(device_, config_, shape_));
  RILL_RETURN_IF_ERROR(copy->AllocateBuffers(pool_));
  RILL_RETURN_IF_ERROR(copy->Assume(position_, fixed_.data(), pages()));
  RILL_RETURN_IF_ERROR(device_.Synchronize());
  return copy;
}

namespace {

absl::StatusOr<bool> SameBytes(Device& device, const char* a, const char* b, uint64_t bytes) {
  if (device.is_host()) return memcmp(a, b, bytes) == 0;
  constexpr uint64_t kBlock = 1 << 20;
  std::vector<char> left(kBlock), right(kBlock);
  for (uint64_t at = 0; at < bytes; at += kBlock) {
    const uint64_t n = std::min(kBlock, bytes - at);
    RILL_RETURN_IF_ERROR(device.CopyOut(left.data(), a + at, n));
    RILL_RETURN_IF_ERROR(device.CopyOut(right.data(), b + at, n));
    if (memcmp(left.data(), right.data(), n) != 0) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<bool> SequenceState::Equal(const SequenceState& other) const {
  if (position_ != other.position_ || layout_.fixed_bytes != other.layout_.fixed_bytes ||
      layout_.page_bytes != other.layout_.page_bytes || shape_.mla_dtype != other.shape_.mla_dtype) {
    return false;
  }
  RILL_ASSIGN_OR_RETURN(bool same, SameBytes(device_, fixed_.as<char>(), other.fixed_.as<char>(), fixed_.bytes()));
  const uint64_t row = static_cast<uint64_t>(config_.mla_row() * SizeOf(shape_.mla_dtype));
  for (size_t l = 0; same && l < config_.layers.size(); ++l) {
    if (config_.layers[l].mixer != MixerKind::kMla) continue;
    for (int64_t at = 0; same && at < position_; at += kPageTokens) {
      const char* a = static_cast<const char*>(pages_[at / kPageTokens]) + layout_.mla_offset[l];
      const char* b = static_cast<const char*>(other.pages_[at / kPageTokens]) + layout_.mla_offset[l];
      const uint64_t rows = static_cast<uint64_t>(std::min(kPageTokens, position_ - at));
      RILL_ASSIGN_OR_RETURN(same, SameBytes(device_, a, b, rows * row));
    }
  }
  return same;
}

}  // namespace rill
