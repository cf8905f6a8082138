// ops/add.h — the residual connection.
//
//   x[i] += y[i]
// Specification: kernels/ref/add.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"

namespace rill {

struct AddArgs {
  TensorView x;   // [T, D] f32  read and written
  TensorView y;   // [T, D] f32  may not overlap x
};

absl::Status Check(const AddArgs& args);

}  // namespace rill
