// kernels/cuda/staging.h — copies between pageable host memory and the device through two pinned buffers.
//
// While one buffer is on its way over the bus the other is filled, so a large upload runs at the speed of the slower of
// the two. Thread-safe: one copy at a time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"

namespace rill::cuda {

class Staging {
 public:
  static absl::StatusOr<std::unique_ptr<Staging>> Create(cudaStream_t stream);
  ~Staging();

  // Return when the host memory is no longer needed (In) or holds the data (Out).
  cudaError_t In(void* device_dst, const void* host_src, size_t bytes);
  cudaError_t Out(void* host_dst, const void* device_src, size_t bytes);

 private:
  static constexpr size_t kBytes = size_t{4} << 20;
  explicit Staging(cudaStream_t stream) : stream_(stream) {}

  cudaStream_t stream_;
  std::mutex mutex_;
  void* buffer_[2] = {nullptr, nullptr};
  cudaEvent_t done_[2] = {nullptr, nullptr};
  int next_ = 0;
};

}  // namespace rill::cuda
