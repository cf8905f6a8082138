#include "kernels/cuda/stream.h"

#include <cuda.h>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/fault.h"

namespace rill::cuda {
namespace {

// A driver function by name, so that the library links without the driver and runs where it is older.
template <typename F>
F DriverFunction(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 13000
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &function, 12050, cudaEnableDefault, &result);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &result);
#endif
  if (error != cudaSuccess || result != cudaDriverEntryPointSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  return reinterpret_cast<F>(function);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StreamOwner>> StreamOwner::Create(int device, int total, int budget) {
  if (budget < 0 || budget > total) {
    return absl::InvalidArgumentError(
        absl::StrCat("sm_budget: ", budget, ", device cuda:", device, " has ", total, " multiprocessors"));
  }
  std::unique_ptr<StreamOwner> owner(new StreamOwner);
  if (budget > 0 && budget < total && owner->MakeGreen(device, budget)) return owner;
  owner->sm_count_ = budget > 0 ? budget : total;
  const cudaError_t error = cudaStreamCreateWithFlags(&owner->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    return ToStatus(error, cudaGetErrorName(error), cudaGetErrorString(error), "create the stream");
  }
  return owner;
}

bool StreamOwner::MakeGreen(int device, int budget) {
  const auto get = DriverFunction<decltype(&cuDeviceGetDevResource)>("cuDeviceGetDevResource");
  const auto split = DriverFunction<decltype(&cuDevSmResourceSplitByCount)>("cuDevSmResourceSplitByCount");
  const auto describe = DriverFunction<decltype(&cuDevResourceGenerateDesc)>("cuDevResourceGenerateDesc");
  const auto create = DriverFunction<decltype(&cuGreenCtxCreate)>("cuGreenCtxCreate");
  const auto make_stream = DriverFunction<decltype(&cuGreenCtxStreamCreate)>("cuGreenCtxStreamCreate");
  const auto destroy = DriverFunction<decltype(&cuGreenCtxDestroy)>("cuGreenCtxDestroy");
  if (!get || !split || !describe || !create || !make_stream || !destroy) return false;
  CUdevResource all = {}, part = {};
  unsigned n_groups = 1;
  CUdevResourceDesc description = nullptr;
  CUgreenCtx green = nullptr;
  CUstream stream = nullptr;
  if (get(device, &all, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS) return false;
  if (split(&part, &n_groups, &all, nullptr, 0, budget) != CUDA_SUCCESS || n_groups != 1) return false;
  if (describe(&description, &part, 1) != CUDA_SUCCESS) return false;
  if (create(&green, description, device, CU_GREEN_CTX_DEFAULT_STREAM) != CUDA_SUCCESS) return false;
  if (make_stream(&stream, green, CU_STREAM_NON_BLOCKING, 0) != CUDA_SUCCESS) {
    destroy(green);
    return false;
  }
  green_ = green;
  stream_ = stream;
  sm_count_ = static_cast<int>(part.sm.smCount);
  return true;
}

StreamOwner::~StreamOwner() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  if (green_ == nullptr) return;
  const auto destroy = DriverFunction<decltype(&cuGreenCtxDestroy)>("cuGreenCtxDestroy");
  if (destroy) destroy(static_cast<CUgreenCtx>(green_));
}

}  // namespace rill::cuda
