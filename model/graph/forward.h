// model/graph/forward.h — tokens become state and logits: the loop over the layers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/fused_decoder.h"
#include "model/graph/pass_buffers.h"
#include "model/graph/plan.h"
#include "model/graph/state.h"
#include "model/model.h"

namespace rill {

enum class LogitsWanted : uint8_t {
  kNone = 0,   // the head is skipped
  kLast = 1,   // of the last token
  kAll = 2,    // of every token, given to the sink in order; logits() holds the last
};

// Where the constant-size part goes as it is after `after` tokens of a pass, 1..T; a list is strictly ascending and has
// at most kMaxTaps entries.
struct StateTap {
  int64_t after;
  void* fixed;      // device memory, StateLayout::fixed_bytes
};

// One per session: owns the activations, the logits and, where the device has one, the fused decoder. Allocates nothing
// after Create. One caller at a time.
class Forward {
 public:
  // Borrows `state`. `logits` is the pool of a Forward this one will share logits with; null makes a new one.
  // ResourceExhausted with both numbers.
  static absl::StatusOr<std::unique_ptr<Forward>> Create(std::shared_ptr<const Model> model, SequenceState& state,
                                                         const SessionShape& shape,
                                                         std::shared_ptr<BlockPool> logits = nullptr);

  // Feeds 1..shape.prefill_chunk tokens as one pass. `cancel` is polled between layers; on Cancelled or any error the
  // state is as before the call. Ids are in the vocabulary and the context has room: the caller has checked. Where
  // steps are fused, a short pass of which the last logits are wanted is as many of them (LongestSteppedPass), and
  // `cancel` is polled between those.
  using Cancel = absl::FunctionRef<bool()>;
  using RowSink = absl::FunctionRef<void(int64_t row, absl::Span<const float> logits)>;
  // The constant-size part as it is after the tokens of `taps` goes where they say; what they wrote counts only when the
  // call succeeds.
  absl::Status Prefill(absl::Span<const int32_t> ids, LogitsWanted wanted, Cancel cancel, RowSink sink,
                       absl::Span<const StateTap> taps = {});

  // Feeds one token; logits wanted. Bit for bit Prefill of one token on host devices.
  absl::Status Step(int32_t id);

  // The state brought forward through recorded tokens: see model/graph/replay.h. The logits are as before.
  absl::Status Replay(int64_t to);

  // [1, vocab] f32 on the device, of the last token that wanted them. To be read: others may share them.
  TensorView logits() const;
  absl::Status SetLogits(const void* row);               // a copy of those, in device memory
  absl::Status ShareLogits(const Forward& other);        // of the same model and pool; until either of the two moves on
  const std::shared_ptr<BlockPool>& logits_pool() const { return logits_pool_; }
  absl::Span<float> host_logits();       // [vocab], for the caller to copy them into; the logits themselves on hosts
  uint64_t allocated_bytes() const;      // on the device

 private:
  Forward(std::shared_ptr<const Model> model, SequenceState& state, const SessionShape& shape);
  absl::Status Allocate(std::shared_ptr<BlockPool> logits);
  absl::Status OwnLogits();
  absl::Status MakeDecoder();
  absl::Status PrepareToWrite(int64_t n_tokens);
  bool IsStepped(int64_t n_tokens, LogitsWanted wanted) const;
  absl::Status RunSteps(absl::Span<const int32_t> ids, Cancel cancel, absl::Span<const StateTap> taps);
  absl::Status RunPass(absl::Span<const int32_t> ids, LogitsWanted wanted, Cancel cancel, RowSink sink,
                       absl::Span<const StateTap> taps);
  absl::Status RunLayers(const TensorView& ids, Cancel cancel, absl::Span<const StateTap> taps);
  absl::Status RunLayer(int64_t layer, const struct Pass& pass, absl::Span<const StateTap> taps, const TensorView& x,
                        const TensorView& normed);
  absl::Status RunKda(int64_t layer, const struct Pass& pass, absl::Span<const StateTap> taps, const TensorView& x,
                      const TensorView& normed);
  absl::Status RunHead(int64_t n_tokens, LogitsWanted wanted, RowSink sink);
  absl::Status DeliverRows(int64_t n_tokens, RowSink sink);
  absl::Status Project(int64_t row, const TensorView& out);

  std::shared_ptr<const Model> model_;
  Device& device_;
  SequenceState& state_;
  SessionShape shape_;
  Buffer workspace_, shadow_;
  std::shared_ptr<BlockPool> logits_pool_;
  BlockPool::Reservation reservation_;   // of one block, which is as many as are held
  BlockRef logits_;
  PassBuffers buffers_;
  std::vector<float> host_logits_;       // empty on host devices
  std::unique_ptr<FusedDecoder> decoder_;
  int64_t longest_stepped_ = 0;          // 0 without a decoder
};

// MakeSessionPlan plus what the model's device adds: a fused decoder, page tables, a host copy of the logits.
SessionPlan PlanSession(const Model& model, const SessionShape& shape);

}  // namespace rill
