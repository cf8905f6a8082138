#include "kernels/cuda/sm90/wgmma.h"

#include <cuda_runtime_api.h>

namespace rill::cuda {
namespace {

constexpr int kTells = 4096;  // bytes, more than a driver keeps for itself

// Never launched. A kernel's attributes name its chip but not the 'a' behind it; this one's shared memory does.
__global__ void WgmmaProbe() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ volatile char tells[kTells];
  tells[threadIdx.x] = 0;
#endif
}

}  // namespace

bool HasWgmma() {
  cudaFuncAttributes attributes = {};
  return cudaFuncGetAttributes(&attributes, WgmmaProbe) == cudaSuccess && attributes.sharedSizeBytes >= kTells;
}

}  // namespace rill::cuda
