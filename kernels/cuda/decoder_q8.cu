// The fused decode step of models whose big matrices are q8.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kQ8>(bool wgmma) { return StepKernelOf<WeightFormat::kQ8>(wgmma); }

}  // namespace rill::cuda
