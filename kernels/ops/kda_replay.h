// ops/kda_replay.h — brings a state forward through recorded tokens without weights, experts or projections.
//
//   for t in [position, position + n):   S = diag(exp(g_t)) S + k_t u_t^T        records at slot t % R
// Bit for bit the state update of kda_step, because u is the one that step computed.
// Specification: kernels/ref/kda_replay.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/kda_step.h"

namespace rill {

struct KdaReplayArgs {
  KdaRing ring;        // present
  int64_t position;    // absolute position of the first token to apply
  int64_t n;           // tokens to apply, 0..R
  TensorView state;    // [H, K, V] f32  read and written
};

absl::Status Check(const KdaReplayArgs& args);

}  // namespace rill
