// sdk/stats.h — counters of a session. Plain numbers since creation; readable from any thread.
#pragma once

#include <cstdint>

namespace rill {

struct SessionStats {
  uint64_t prefill_tokens = 0;       // through Append
  uint64_t decode_tokens = 0;        // through Step
  uint64_t sampled_tokens = 0;
  int64_t prefill_nanos = 0;
  int64_t decode_nanos = 0;          // steps and sampling
  int64_t last_ttft_nanos = 0;       // start of the last append to the first token of the generation after it
  uint64_t cancelled_calls = 0;
  uint64_t device_bytes = 0;         // allocated by this session
  uint64_t planned_bytes = 0;
  uint64_t weight_bytes_per_token = 0;   // weights a decode step reads
  double prefill_tokens_per_second() const {
    return prefill_nanos > 0 ? 1e9 * static_cast<double>(prefill_tokens) / static_cast<double>(prefill_nanos) : 0;
  }
  double decode_tokens_per_second() const {
    return decode_nanos > 0 ? 1e9 * static_cast<double>(decode_tokens) / static_cast<double>(decode_nanos) : 0;
  }
};

}  // namespace rill
