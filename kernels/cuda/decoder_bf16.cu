// The fused decode step of models whose big matrices are bf16.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kBf16>() { return reinterpret_cast<const void*>(StepKernel<WeightFormat::kBf16, GridBarrier>); }

}  // namespace rill::cuda
