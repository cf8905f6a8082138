// The fused decode step of models whose big matrices are q4.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kQ4>() { return reinterpret_cast<const void*>(StepKernel<WeightFormat::kQ4, GridBarrier>); }

}  // namespace rill::cuda
