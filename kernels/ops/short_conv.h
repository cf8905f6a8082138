// ops/short_conv.h — causal depthwise convolution of W taps with SiLU, and its tail.
//
//   y[t, c]   = sum_{j=0}^{W-1} weight[c, j] * p[t - (W-1) + j, c]        added in the order j = 0 .. W-1
//   out[t, c] = y * sigmoid(y)
// p is x, preceded by the tail: p[-1], p[-2], ... are the last inputs of the call before (zero at the start).
// The tail after the call holds the last W-1 inputs, oldest first, BEFORE the activation.
// Specification: kernels/ref/short_conv.cc.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/state_export.h"

namespace rill {

struct ShortConvArgs {
  TensorView x;        // [T, C] f32      projection outputs
  TensorView weight;   // [C, W] f32      tap W-1 meets the current token; 2 <= W <= 8
  TensorView tail;     // [C, W-1] f32    read and written; oldest first
  TensorView out;      // [T, C] f32      may be x itself only when T == 1 and ring is absent
  absl::Span<const StateExport> exports;  // tails after the listed token counts

  // Optional replay ring: input row t is also stored at ring[(position + t) % ring.dim[0]]; only the last
  // ring.dim[0] rows of the call need be written.
  TensorView ring;     // [R, C] f32 or absent
  int64_t position;    // absolute position of x[0]
};

absl::Status Check(const ShortConvArgs& args);

}  // namespace rill
