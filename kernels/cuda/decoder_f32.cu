// The fused decode step of models whose big matrices are f32.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kF32>() { return reinterpret_cast<const void*>(StepKernel<WeightFormat::kF32, GridBarrier>); }

}  // namespace rill::cuda
