// kernels/ops/fused_decoder.h — one token through the whole model as one piece of work, for devices where a launch per
// operator would cost more than the bytes (a GPU replays a captured graph). Optional: a device without it steps layer
// by layer through the operator table, and both must agree within docs/NUMERICS.md.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/kda_step.h"
#include "kernels/ops/layer_weights.h"
#include "kernels/ops/mla_cache.h"

namespace rill {

class Device;

// Addresses of one session's state; they stay the same for the decoder's life (only page table ENTRIES change).
struct DecoderLayerState {
  TensorView kda_state;            // [H, K, V] f32
  TensorView conv_tail;            // [3 * C, W - 1] f32   channels of q, then k, then v
  KdaRing ring;                    // optional replay ring
  TensorView conv_ring;            // [3, R, C] f32, optional: inputs of the q, k and v convolutions
  MlaCacheView mla_cache;          // MLA layers; `pages` is a device array with room for the whole context
};

struct DecoderSpec {
  int64_t hidden, vocab, max_context;
  float norm_eps;
  MatrixView embedding;            // [vocab, D]
  TensorView final_norm;           // [D] f32
  MatrixView lm_head;              // [vocab, D]
  absl::Span<const LayerWeights> layers;        // copied
  absl::Span<const DecoderLayerState> states;   // copied; one per layer
  TensorView logits;               // [1, vocab] f32 on the device; written by every step
};

class FusedDecoder {  // One caller at a time.
 public:
  virtual ~FusedDecoder() = default;
  // Starts the step of `token` at `position` (0-based; the MLA pages for it exist) and returns. The logits are in
  // spec.logits when the device has been synchronized or a later operator of the same device reads them.
  virtual absl::Status Step(int32_t token, int64_t position) = 0;
  // Scratch this decoder owns on the device, in bytes (part of the plan).
  virtual uint64_t device_bytes() const = 0;
};

// A device offers decoders through OpTable::make_fused_decoder, Unimplemented for a model it does not cover, whose steps then go by the
// operators. OpTable::fused_decoder_bytes tells their size ahead, 0 where none will be made; it is pure and follows no pointer of the spec.

}  // namespace rill
