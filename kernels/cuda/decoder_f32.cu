// The fused decode step of models whose big matrices are f32.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kF32>(bool wgmma) { return StepKernelOf<WeightFormat::kF32>(wgmma); }

}  // namespace rill::cuda
