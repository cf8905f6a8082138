// ops/router.h — which experts a token visits, and with which weights.
//
//   s      = sigmoid(W x)                    (or softmax over all experts)
//   c      = s + bias                        used for CHOOSING only
//   groups: the experts are n_groups runs of equal length; a group's score is the sum of its two largest c (one if it
//           has a single expert); only experts of the topk_groups best groups may be chosen
//   ids    = the top_k largest c, in descending order; a tie goes to the lower index
//   weight = s[ids]                          UNBIASED
//   if renormalize and top_k > 1: weight /= (sum(weight) + 1e-20)
//   weight *= scaling
// Float32 throughout. Source: the released modelling code (KimiMoEGate), with unbiased weights (model.md 2.5).
// Specification: kernels/ref/router.cc.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"

namespace rill {

enum class RouterActivation : uint8_t { kSigmoid = 0, kSoftmax = 1 };

struct RouterArgs {
  RouterActivation activation;
  int top_k;
  int n_groups;           // divides E; 1 means no grouping
  int topk_groups;        // in 1..n_groups
  bool renormalize;
  float scaling;
  TensorView x;           // [T, D] f32
  MatrixView weight;      // [E, D] bf16 or f32
  TensorView bias;        // [E] f32, or absent
  TensorView scores;      // [T, E] f32  scratch: s on return
  TensorView ids;         // [T, top_k] i32  written whole
  TensorView weights;     // [T, top_k] f32  written whole
};

absl::Status Check(const RouterArgs& args);

}  // namespace rill
