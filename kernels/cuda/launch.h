// kernels/cuda/launch.h — the first and the last lines of every operator.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/cuda/cuda_device.h"

namespace rill::cuda {

// Checks the arguments and selects the GPU.
template <typename Args>
absl::Status Enter(CudaDevice& device, const Args& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  return device.Begin();
}

// Blocks for n elements of a kernel that strides over its grid.
inline unsigned Blocks(int64_t n, int threads, int64_t most = 65535) {
  return static_cast<unsigned>(std::clamp<int64_t>(CeilDiv(n, threads), 1, most));
}

// Lets a kernel use `bytes` of dynamic shared memory; needed above 48 KiB.
template <typename Kernel>
absl::Status AllowShared(CudaDevice& device, Kernel kernel, size_t bytes, absl::string_view what) {
  if (bytes > device.max_shared_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": needs ", bytes, " bytes of shared memory, the device has ",
                                                   device.max_shared_bytes()));
  }
  if (bytes <= 48 * 1024) return absl::OkStatus();
  return device.Take(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
                     what);
}

// True when `kernel` was compiled for a chip that has programmatic dependent launch (sm_90), so that AwaitGridsBefore() in it does wait.
template <typename Kernel>
bool CanStartEarly(Kernel kernel) {
  cudaFuncAttributes attributes = {};
  return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 90 && attributes.binaryVersion >= 90;
}

// Launches a kernel that may start while the one before it on the stream still runs, if `early`: it must call AwaitGridsBefore() before it touches
// what other kernels write.
template <typename... Parameters, typename... Args>
absl::Status LaunchEarly(CudaDevice& device, void (*kernel)(Parameters...), unsigned blocks, unsigned threads, size_t shared, bool early,
                         absl::string_view what, Args... args) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks), config.blockDim = dim3(threads), config.dynamicSmemBytes = shared, config.stream = device.stream();
  config.attrs = &attribute, config.numAttrs = early ? 1 : 0;
  return device.Take(cudaLaunchKernelEx(&config, kernel, Parameters(args)...), what);
}

}  // namespace rill::cuda
