// The fused decode step of models whose big matrices are q4.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kQ4>(bool wgmma) { return StepKernelOf<WeightFormat::kQ4>(wgmma); }

}  // namespace rill::cuda
