// The fused decode step of models whose big matrices are q8.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kQ8>() { return reinterpret_cast<const void*>(StepKernel<WeightFormat::kQ8, GridBarrier>); }

}  // namespace rill::cuda
