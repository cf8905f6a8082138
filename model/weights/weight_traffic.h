// model/weights/weight_traffic.h — how many bytes of weights a token moves.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights/tensor_table.h"

namespace rill {

// Summed up once a model: a table of tensors takes a millisecond or two to make.
struct WeightTraffic {
  uint64_t step = 0;  // a decode step reads: everything once, of the routed experts those a token is sent to, of an
                      // embedding that is not the head a single row
  // A pass moves: of what every pass needs, and of all routed experts. Each weight is read once, and where it is
  // quantised written and read once more as bf16.
  uint64_t pass_common = 0, pass_experts = 0;
};
// Pure.
WeightTraffic MeasureWeightTraffic(const ModelConfig& config, const Recipe& recipe);

}  // namespace rill
