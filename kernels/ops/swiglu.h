// ops/swiglu.h — the gated activation of dense and shared feed-forward blocks.
//
//   out[t, n] = silu(gate[t, n]) * up[t, n]          silu(x) = x / (1 + exp(-x))
// Specification: kernels/ref/swiglu.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct SwigluArgs {
  TensorView gate;   // [T, N] f32
  TensorView up;     // [T, N] f32
  TensorView out;    // [T, N] f32  may be gate or up itself
};

absl::Status Check(const SwigluArgs& args);

}  // namespace rill
