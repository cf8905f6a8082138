// sdk/counters.h — what a session counts while it runs.
#pragma once

#include <atomic>
#include <cstdint>

#include "model/config.h"
#include "model/weights/tensor_table.h"
#include "sdk/stats.h"

namespace rill {

// Written by the running call, read by anyone: each number is whole, the set is not a snapshot.
struct Counters {
  std::atomic<uint64_t> prefill_tokens{0}, decode_tokens{0}, sampled_tokens{0}, cancelled_calls{0};
  std::atomic<int64_t> prefill_nanos{0}, decode_nanos{0}, last_ttft_nanos{0};

  void Fill(SessionStats* stats) const;
};

// Bytes of weights that one decode step reads: everything once, of the routed experts those a token
// is sent to, of an embedding that is not the head a single row.
uint64_t WeightBytesPerToken(const ModelConfig& config, const Recipe& recipe);

}  // namespace rill
