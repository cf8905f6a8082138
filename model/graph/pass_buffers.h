// model/graph/pass_buffers.h — the activations of one pass over the layers, laid out once for the longest pass.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/graph/plan.h"
#include "model/graph/scratch.h"
#include "model/layers/glu.h"
#include "model/layers/kda.h"
#include "model/layers/mla.h"
#include "model/layers/moe.h"

namespace rill {

// Rows the head computes at a time when the logits of every token are wanted.
inline constexpr int64_t kHeadRows = 8;

struct PassBuffers {
  TensorView ids;        // [T] i32
  TensorView x;          // [T, D]  residual stream
  TensorView normed;     // [T, D]
  TensorView head;       // [kHeadRows, V]; its first row holds the logits of the last token
  // A layer is done with its scratch when the next begins, so all kinds share one region, whose base this is.
  void* layer_base = nullptr;

  static PassBuffers Take(Scratch& scratch, const ModelConfig& config, const SessionShape& shape);
};

}  // namespace rill
