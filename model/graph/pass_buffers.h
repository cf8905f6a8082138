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

// Of the last token's logits, which lie in a block of their own.
uint64_t LogitsBytes(const ModelConfig& config);

struct PassBuffers {
  TensorView ids;        // [T] i32
  TensorView x;          // [T, D]  residual stream
  TensorView normed;     // [T, D]
  TensorView head;       // [kHeadRows, V], for the logits of every token
  // A layer is done with its scratch when the next begins, so all kinds share one region, whose base this is.
  void* layer_base = nullptr;

  static PassBuffers Take(Scratch& scratch, const ModelConfig& config, const SessionShape& shape);
};

}  // namespace rill
