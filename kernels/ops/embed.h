// ops/embed.h — rows of the embedding table.
//
//   out[t, :] = table[ids[t], :]            as float32, no scaling
// Specification: kernels/ref/embed.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"

namespace rill {

struct EmbedArgs {
  TensorView ids;     // [T] i32   each in [0, table.rows); the caller has checked them
  MatrixView table;   // [vocab, D] any format
  TensorView out;     // [T, D] f32  written whole
};

// InvalidArgument names the first field that does not fit; nothing is started then.
absl::Status Check(const EmbedArgs& args);

}  // namespace rill
