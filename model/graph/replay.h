// model/graph/replay.h — brings a state forward through recorded tokens, without weights or experts.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/ops/layer_weights.h"
#include "model/graph/state.h"
#include "model/model.h"

namespace rill {

// From state.position() to `to`: what Prefill of the same tokens does to the constant-size part, bit for bit on host
// devices. The rows of the MLA cache must be there already, and the ring must hold all of [position, to): the caller has
// looked before it took the state back. `scratch` is device memory for kda_width() floats.
absl::Status ReplayTokens(const Model& model, SequenceState& state, int64_t to, float* scratch);

}  // namespace rill
