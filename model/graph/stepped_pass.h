// model/graph/stepped_pass.h — which passes go token by token, where a device has a fused decoder.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights/tensor_table.h"

namespace rill {

// The longest pass, of at most `prefill_chunk` tokens, whose steps move no more bytes of weights than the pass itself:
// at least 1. A step reads the weights of one token. A pass reads each weight that one of its tokens needs once, and
// where it is quantised writes and reads it once more as bf16. Pure.
int64_t LongestSteppedPass(const ModelConfig& config, const Recipe& recipe, int64_t prefill_chunk);

}  // namespace rill
