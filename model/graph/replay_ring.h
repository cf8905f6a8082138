// model/graph/replay_ring.h — what every KDA layer did with the last tokens, so that a state can be brought forward again
// without weights or experts.
//
// For each token and layer: key, delta value and log decay (kernels/ops/kda_step.h) and the inputs of the three
// convolutions, all float32. Two windows long, because a rewind starts at a checkpoint that lies on a multiple of the
// window: the one at or before (target - window) is at most two windows back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "kernels/device/device.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/kda_step.h"
#include "model/config.h"
#include "model/graph/plan.h"

namespace rill {

// The window on a device: none where a fused decoder runs the steps, which records nothing.
inline int64_t ReplayWindow(const Device& device, const SessionShape& shape) {
  return device.ops().make_fused_decoder == nullptr ? shape.rewind_window : 0;
}

class ReplayRing {  // One caller at a time, its session's.
 public:
  // Slots for a window; 0 for a model without KDA layers.
  static int64_t Slots(const ModelConfig& config, int64_t window) { return config.n_kda_layers() > 0 ? 2 * window : 0; }
  static uint64_t Bytes(const ModelConfig& config, int64_t window);

  static absl::StatusOr<ReplayRing> Create(Device& device, const ModelConfig& config, int64_t window);

  int64_t slots() const { return slots_; }
  // Where a layer's records lie: token t at slot t % slots(). Absent without slots.
  KdaRing records(int64_t layer) const;
  TensorView conv_inputs(int64_t layer, int which) const;   // [slots, C] of q, k, v: 0, 1, 2

  // With the state at `position`, the recorded tokens are [first(position), position).
  int64_t first(int64_t position) const { return std::max(first_, position - slots_); }
  // Before a pass that records [position, position + n): whether it is committed or not, older slots are written over.
  void WillRecord(int64_t position, int64_t n) { first_ = std::max(first_, std::min(position, position + n - slots_)); }
  // The state goes from one position to an earlier one: what lies between had taken the slots of older tokens, so those
  // stay lost.
  void GoBack(int64_t from, int64_t to) { first_ = std::min(first(from), to); }
  void Forget(int64_t position) { first_ = position; }   // nothing before `position` is recorded
  void Extend(int64_t first) { first_ = first; }         // the slots from there on were filled from outside

  // Planes of slots() rows, one row a token: [KDA layer][k, u, g, inputs of q, k, v][slot][C] float32.
  const Buffer& buffer() const { return buffer_; }
  uint64_t row_bytes() const { return sizeof(float) * static_cast<uint64_t>(heads_ * dim_); }

 private:
  Buffer buffer_;
  int64_t slots_ = 0, heads_ = 0, dim_ = 0, first_ = 0;
  std::vector<int32_t> index_;      // of a KDA layer among the KDA layers
  float* Part(int64_t layer, int which) const;
};

}  // namespace rill
