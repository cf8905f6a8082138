// kernels/cpu/project.h — matvec and matmul over several matrices as one parallel loop.
#pragma once

#include "absl/types/span.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/ops/matvec.h"

namespace rill::cpu {

// Every projection's rows are laid end to end and shared out; T rows of x, `accumulate` as in
// MatvecArgs.
void Project(CpuDevice& device, const TensorView& x, absl::Span<const Projection> projections,
             bool accumulate);

}  // namespace rill::cpu
