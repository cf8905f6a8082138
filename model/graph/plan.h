// model/graph/plan.h — every byte of a session before any of it is allocated.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/base/dtype.h"
#include "model/config.h"

namespace rill {

class Device;

// What a session is asked to hold.
struct SessionShape {
  int64_t max_tokens = 4096;          // longest context, in tokens; >= 1
  int64_t prefill_chunk = 256;        // tokens of one prefill pass, 1..4096
  DType mla_dtype = DType::kBf16;     // cache rows: bf16, or f32 where every digit is wanted
  int64_t rewind_window = 64;         // last tokens that a rewind reaches without running layers, 0..1024
  int64_t ladder_slots = 12;          // states kept for rewinds further back, 8..256; four of them are spare
};

// Bytes on the device the session runs on (host memory for host devices).
struct SessionPlan {
  uint64_t state_bytes = 0;           // KDA states and convolution tails, constant size
  uint64_t shadow_bytes = 0;          // their copy while a prefill pass runs, so that it can be taken back
  uint64_t cache_bytes = 0;           // MLA pages for max_tokens
  uint64_t cache_bytes_per_token = 0; // of the rows alone
  uint64_t workspace_bytes = 0;       // activations, logits and operator scratch of one pass
  uint64_t logits_bytes = 0;          // sampler scratch and, off the host, a copy of the logits (host memory)
  uint64_t ledger_bytes = 0;          // token ids
  uint64_t decoder_bytes = 0;         // a fused decoder's own scratch, where the device has one
  uint64_t ring_bytes = 0;            // records of the last tokens, for short rewinds
  uint64_t ladder_bytes = 0;          // rungs: states with their logits, for long ones
  uint64_t total() const {
    return state_bytes + shadow_bytes + cache_bytes + workspace_bytes + logits_bytes + ledger_bytes + decoder_bytes +
           ring_bytes + ladder_bytes;
  }
};

// InvalidArgument names the field out of range and its limits.
absl::Status Validate(const SessionShape& shape);

// Pure arithmetic on a valid config and shape; touches no device.
SessionPlan MakeSessionPlan(const ModelConfig& config, const SessionShape& shape);

}  // namespace rill
