// model/graph/stepped_pass.h — which passes go token by token, where a device has a fused decoder.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights/weight_traffic.h"

namespace rill {

// The longest pass, of at most `prefill_chunk` tokens, whose steps move no more bytes of weights than the pass itself:
// at least 1. `traffic` is the model's. Pure.
int64_t LongestSteppedPass(const ModelConfig& config, const WeightTraffic& traffic, int64_t prefill_chunk);

}  // namespace rill
