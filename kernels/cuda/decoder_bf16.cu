// The fused decode step of models whose big matrices are bf16.
#include "kernels/cuda/decoder_kernel.cuh"

namespace rill::cuda {

template <>
const void* StepKernelAddress<WeightFormat::kBf16>(bool wgmma) { return StepKernelOf<WeightFormat::kBf16>(wgmma); }

}  // namespace rill::cuda
