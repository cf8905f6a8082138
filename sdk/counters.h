// sdk/counters.h — what a session counts while it runs.
#pragma once

#include <atomic>
#include <cstdint>

#include "sdk/stats.h"

namespace rill {

// Written by the running call, read by anyone: each number is whole, the set is not a snapshot.
struct Counters {
  std::atomic<uint64_t> prefill_tokens{0}, decode_tokens{0}, sampled_tokens{0}, cancelled_calls{0};
  std::atomic<int64_t> prefill_nanos{0}, decode_nanos{0}, last_ttft_nanos{0};

  void Fill(SessionStats* stats) const;
};

}  // namespace rill
