#include "sdk/counters.h"

namespace rill {

void Counters::Fill(SessionStats* stats) const {
  stats->prefill_tokens = prefill_tokens.load(std::memory_order_relaxed);
  stats->decode_tokens = decode_tokens.load(std::memory_order_relaxed);
  stats->sampled_tokens = sampled_tokens.load(std::memory_order_relaxed);
  stats->cancelled_calls = cancelled_calls.load(std::memory_order_relaxed);
  stats->prefill_nanos = prefill_nanos.load(std::memory_order_relaxed);
  stats->decode_nanos = decode_nanos.load(std::memory_order_relaxed);
  stats->last_ttft_nanos = last_ttft_nanos.load(std::memory_order_relaxed);
}

}  // namespace rill
