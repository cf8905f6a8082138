#include "model/graph/state.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/graph/scratch.h"

namespace rill {
namespace {

constexpr uint64_t kPageAlignment = 16 << 10;  // the largest memory page of the platforms we run on

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
      layout.kda[l].recurrent = layout.fixed_bytes;
      layout.fixed_bytes = AlignUp(layout.fixed_bytes + state, Scratch::kAlignment);
      layout.kda[l].tail = layout.fixed_bytes;
      layout.fixed_bytes = AlignUp(layout.fixed_bytes + tail, Scratch::kAlignment);
    } else {
      layout.mla_offset[l] = layout.page_bytes;
      layout.page_bytes += rows;
    }
  }
  layout.page_bytes = AlignUp(layout.page_bytes, kPageAlignment);
  return layout;
}

SequenceState::SequenceState(Device& device, const ModelConfig& config, const SessionShape& shape)
    : device_(device), config_(config), shape_(shape), layout_(StateLayout::Make(config, shape.mla_dtype)) {}

absl::StatusOr<std::unique_ptr<SequenceState>> SequenceState::Create(Device& device, const ModelConfig& config,
                                                                     const SessionShape& shape) {
  RILL_RETURN_IF_ERROR(Validate(shape));
  std::unique_ptr<SequenceState> state(new SequenceState(device, config, shape));
  RILL_RETURN_IF_ERROR(state->AllocateBuffers());
  RILL_RETURN_IF_ERROR(state->Reset());
  return state;
}

absl::Status SequenceState::AllocateBuffers() {
  const uint64_t n_pages = PageCount(shape_);
  RILL_ASSIGN_OR_RETURN(fixed_, Buffer::Allocate(device_, layout_.fixed_bytes));
  RILL_ASSIGN_OR_RETURN(cache_, Buffer::Allocate(device_, layout_.page_bytes * n_pages));
  if (layout_.page_bytes == 0) return absl::OkStatus();
  pages_.resize(n_pages);
  for (uint64_t p = 0; p < n_pages; ++p) pages_[p] = cache_.as<char>() + p * layout_.page_bytes;
  if (device_.is_host()) return absl::OkStatus();
  RILL_ASSIGN_OR_RETURN(table_, Buffer::Allocate(device_, n_pages * sizeof(void*)));
  return device_.CopyIn(table_.data(), pages_.data(), table_.bytes());
}

KdaState SequenceState::kda(int64_t layer) const {
  const int64_t H = config_.kda_heads, K = config_.kda_head_dim;
  char* base = fixed_.as<char>();
  return {F32View(reinterpret_cast<float*>(base + layout_.kda[layer].recurrent), H, K, K),
          F32View(reinterpret_cast<float*>(base + layout_.kda[layer].tail), 3 * H * K, config_.conv_width - 1)};
}

MlaCacheView SequenceState::mla(int64_t layer) const {
  void* const* pages = device_.is_host() ? pages_.data() : table_.as<void*>();
  return {shape_.mla_dtype, config_.kv_lora_rank, config_.qk_rope_dim, pages, layout_.mla_offset[layer]};
}

uint64_t SequenceState::allocated_bytes() const { return fixed_.bytes() + cache_.bytes() + table_.bytes(); }

absl::Status SequenceState::Reset() {
  position_ = 0;  // rows beyond the position are never read, so the pages keep what they hold
  if (fixed_.bytes() == 0) return absl::OkStatus();
  return device_.Fill(fixed_.data(), 0, fixed_.bytes());
}

absl::StatusOr<std::unique_ptr<SequenceState>> SequenceState::Clone() const {
  std::unique_ptr<SequenceState> copy(new SequenceState(device_, config_, shape_));
  RILL_RETURN_IF_ERROR(copy->AllocateBuffers());
  const uint64_t used = layout_.page_bytes * static_cast<uint64_t>(CeilDiv(position_, kPageTokens));
  if (fixed_.bytes() > 0) RILL_RETURN_IF_ERROR(device_.CopyOn(copy->fixed_.data(), fixed_.data(), fixed_.bytes()));
  if (used > 0) RILL_RETURN_IF_ERROR(device_.CopyOn(copy->cache_.data(), cache_.data(), used));
  RILL_RETURN_IF_ERROR(device_.Synchronize());
  copy->position_ = position_;
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
