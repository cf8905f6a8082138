// ops/kda_gate.h — the decay and the write strength of Kimi Delta Attention.
//
//   g[t, h, d]  = -exp(a_log[h]) * softplus(f[t, h, d] + dt_bias[h, d])      log decay, <= 0
//   beta[t, h]  = sigmoid(b[t, h])
//   softplus(x) = x if x > 20 else log(1 + exp(x))
// All float32. There is no lower bound on g: a single token can decay a channel to nothing.
// Source: the released modelling code; fla ops/kda/gate.py. Specification: kernels/ref/kda_gate.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct KdaGateArgs {
  TensorView f;         // [T, H, K] f32  gate logits
  TensorView a_log;     // [H] f32
  TensorView dt_bias;   // [H, K] f32
  TensorView b;         // [T, H] f32     write-strength logits
  TensorView g;         // [T, H, K] f32  written whole; may be f itself
  TensorView beta;      // [T, H] f32     written whole; may be b itself
};

absl::Status Check(const KdaGateArgs& args);

}  // namespace rill
