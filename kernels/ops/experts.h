// ops/experts.h — the routed experts of one layer.
//
//   out[t] (+)= sum_{j=0}^{top_k-1} weights[t, j] * E_{ids[t, j]}(x[t])       added in the order j = 0 ..
//   E_e(x) = Down_e( silu(Gate_e x) * (Up_e x) )
// A token's sum has the same bits whichever other tokens share the call. Specification: kernels/ref/experts.cc.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"

namespace rill {

struct ExpertsArgs {
  TensorView x;            // [T, D] f32
  TensorView ids;          // [T, top_k] i32  distinct within a row, in [0, experts.n_experts)
  TensorView weights;      // [T, top_k] f32
  ExpertsView experts;
  bool accumulate;         // add to `out` instead of writing it
  TensorView out;          // [T, D] f32  may not overlap x
  TensorView workspace;    // [>= ExpertsWorkspaceBytes(...)] u8, 64-byte aligned
};

absl::Status Check(const ExpertsArgs& args);

// Pure. Scratch for T tokens.
uint64_t ExpertsWorkspaceBytes(int64_t n_tokens, int top_k, int n_experts, int64_t hidden, int64_t width);

}  // namespace rill
