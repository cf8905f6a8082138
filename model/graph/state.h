// model/graph/state.h — everything a timeline has computed: KDA states, convolution tails, MLA rows, position. A value:
// it can be cloned and compared, and nothing else about a session depends on the past.
//
// Layout "state-kv-f32-v1": KDA states [head][key][value] float32, convolution tails [channel of q, k, v][oldest..newest]
// float32 (projection outputs before the activation), cache rows latent then rope key, little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/device/buffer.h"
#include "kernels/device/device.h"
#include "kernels/ops/mla_cache.h"
#include "model/config.h"
#include "model/graph/block_pool.h"
#include "model/graph/plan.h"
#include "model/graph/replay_ring.h"
#include "model/layers/kda.h"

namespace rill {

// Where each layer's part lies. Pure.
struct StateLayout {
  struct Kda {
    uint64_t recurrent, tail;        // offsets in the constant-size part
  };
  std::vector<Kda> kda;              // by layer; unused entries of MLA layers are zero
  std::vector<uint64_t> mla_offset;  // by layer: offset in a page
  uint64_t fixed_bytes = 0;          // the constant-size part
  struct Gap {
    uint64_t offset, bytes;
  };
  std::vector<Gap> gaps;             // bytes of it that belong to no tensor: always zero
  uint64_t page_bytes = 0;           // 128 tokens of all MLA layers, a multiple of 16 KiB; 0 without MLA
  uint64_t rung_bytes = 0;           // the constant-size part, then the logits: one checkpoint of the ladder
  static StateLayout Make(const ModelConfig& config, DType mla_dtype);
};

class SequenceState {  // One caller at a time.
 public:
  // Allocates states and reserves pages for shape.max_tokens, zeroed. Borrows `device` and `config`. `pages` is the pool
  // of a state this one will share pages with; null makes a new one.
  static absl::StatusOr<std::unique_ptr<SequenceState>> Create(Device& device, const ModelConfig& config,
                                                               const SessionShape& shape,
                                                               std::shared_ptr<BlockPool> pages = nullptr);

  int64_t position() const { return position_; }   // tokens fed so far
  int64_t max_tokens() const { return shape_.max_tokens; }
  const StateLayout& layout() const { return layout_; }
  void Advance(int64_t n_tokens) { position_ += n_tokens; }

  // Before rows [position, position + n) are written: every page they lie in is there and this state's own. A page that
  // others hold too is copied, as far as it has rows. Allocates nothing.
  absl::Status PrepareToWrite(int64_t n_tokens);

  KdaState kda(int64_t layer) const;
  // Zeroes the gaps of a copy that is about to be written tensor by tensor.
  absl::Status ClearGaps(void* fixed) const;
  KdaState KdaIn(int64_t layer, void* fixed) const;   // in a copy of the constant-size part; without ring
  MlaCacheView mla(int64_t layer) const;

  // The constant-size part, for copies made by the pass in flight.
  const Buffer& fixed() const { return fixed_; }
  ReplayRing& ring() { return ring_; }
  const ReplayRing& ring() const { return ring_; }
  uint64_t allocated_bytes() const;

  // The pages of rows before the position.
  absl::Span<const BlockRef> pages() const;
  const std::shared_ptr<BlockPool>& pool() const { return pool_; }

  // Stands at `position` with the constant-size part `fixed` (device memory, fixed_bytes) and these pages, which are
  // shared from now on. Nothing is recorded in the ring any more unless the caller says so.
  absl::Status Assume(int64_t position, const void* fixed, absl::Span<const BlockRef> pages);
  // The same timeline at another position that it has rows for: the constant-size part is `fixed` (may be its own), the
  // pages stay until DropPages, the ring keeps what it has before the position. At 0 the constant-size part is zeros.
  absl::Status GoBack(int64_t position, const void* fixed);
  absl::Status GoBackToStart();
  void DropPages() { DropPagesAfter(position_); }   // those that hold no row before the position

  absl::Status Reset();  // as after Create
  // A second state with the same content; pages are shared, copy on write. Its ring is empty.
  absl::StatusOr<std::unique_ptr<SequenceState>> Clone() const;
  // Same position, and the same bits in all states, tails and rows up to it.
  absl::StatusOr<bool> Equal(const SequenceState& other) const;

 private:
  SequenceState(Device& device, const ModelConfig& config, const SessionShape& shape);
  absl::Status AllocateBuffers(std::shared_ptr<BlockPool> pages);
  absl::Status SetPage(size_t page, BlockRef ref);
  void DropPagesAfter(int64_t position);

  Device& device_;
  const ModelConfig& config_;
  SessionShape shape_;
  StateLayout layout_;
  Buffer fixed_, table_;
  ReplayRing ring_;
  std::shared_ptr<BlockPool> pool_;
  BlockPool::Reservation reservation_;
  std::vector<BlockRef> page_refs_;   // of rows before the position; may run ahead while a pass writes
  std::vector<void*> pages_;          // their addresses: what `table_` holds; host devices read it in place
  int64_t position_ = 0;
};

}  // namespace rill
