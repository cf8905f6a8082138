// kernels/cuda/staged_layout.h — the one size of stage.cuh that host code needs as well.
#pragma once

namespace rill::cuda {

inline constexpr int kStagedGroupBytes = 80;

}  // namespace rill::cuda
