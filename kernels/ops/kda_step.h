// ops/kda_step.h — one token of Kimi Delta Attention.
//
// For each head, with S [K, V] the state before the token:
//   S' = diag(exp(g)) S                  decay, per key channel, FIRST
//   u  = beta (v - S'^T k)               the delta: what the decayed state did not yet predict
//   S  = S' + k u^T
//   o  = scale S^T q                     read from the UPDATED state
// Source: Kimi Linear technical report eq. 1; fla ops/kda/naive.py. Specification: kernels/ref/kda_step.cc.
// One caller at a time per state; different states may run at once.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

// What replaying a token needs, kept for the last R tokens at slot (position % R). All three present or all absent.
struct KdaRing {
  TensorView k;   // [R, H, K] f32  the unit-length key
  TensorView u;   // [R, H, V] f32  the delta value
  TensorView g;   // [R, H, K] f32  the log decay
};

struct KdaStepArgs {
  float scale;         // 1 / sqrt(K) unless the model says otherwise
  TensorView q;        // [1, H, K] f32  already L2-normalised
  TensorView k;        // [1, H, K] f32  already L2-normalised
  TensorView v;        // [1, H, V] f32
  TensorView g;        // [1, H, K] f32  log decay, <= 0
  TensorView beta;     // [1, H] f32     after the sigmoid
  TensorView state;    // [H, K, V] f32  read and written; overlaps no other view
  TensorView out;      // [1, H, V] f32  written whole; may be v itself
  KdaRing ring;        // optional
  int64_t position;    // absolute position of the token (for the ring)
};

// InvalidArgument names the first field that does not fit; nothing is started then. K and V are multiples of 16, at
// most 256.
absl::Status Check(const KdaStepArgs& args);

}  // namespace rill
