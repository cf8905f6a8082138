#include "kernels/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/fault.h"

namespace rill::cuda {

absl::StatusOr<std::unique_ptr<Staging>> Staging::Create(cudaStream_t stream) {
  std::unique_ptr<Staging> staging(new Staging(stream));
  for (int i = 0; i < 2; ++i) {
    cudaError_t error = cudaHostAlloc(&staging->buffer_[i], kBytes, cudaHostAllocDefault);
    if (error == cudaSuccess) error = cudaEventCreateWithFlags(&staging->done_[i], cudaEventDisableTiming);
    if (error != cudaSuccess) {
      return ToStatus(error, cudaGetErrorName(error), cudaGetErrorString(error),
                      absl::StrCat("allocate ", kBytes, " bytes of pinned staging"));
    }
  }
  return staging;
}

Staging::~Staging() {
  for (int i = 0; i < 2; ++i) {
    if (done_[i] != nullptr) cudaEventDestroy(done_[i]);
    cudaFreeHost(buffer_[i]);
  }
}

cudaError_t Staging::In(void* device_dst, const void* host_src, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t offset = 0; offset < bytes; offset += kBytes) {
    const size_t n = std::min(kBytes, bytes - offset);
    const int i = next_;
    next_ ^= 1;
    cudaError_t error = cudaEventSynchronize(done_[i]);  // the copy this buffer served last
    if (error != cudaSuccess) return error;
    memcpy(buffer_[i], static_cast<const char*>(host_src) + offset, n);
    error = cudaMemcpyAsync(static_cast<char*>(device_dst) + offset, buffer_[i], n, cudaMemcpyHostToDevice, stream_);
    if (error == cudaSuccess) error = cudaEventRecord(done_[i], stream_);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t Staging::Out(void* host_dst, const void* device_src, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto start = [&](size_t offset, int i) {
    const size_t n = std::min(kBytes, bytes - offset);
    const cudaError_t error = cudaMemcpyAsync(buffer_[i], static_cast<const char*>(device_src) + offset, n,
                                              cudaMemcpyDeviceToHost, stream_);
    return error == cudaSuccess ? cudaEventRecord(done_[i], stream_) : error;
  };
  for (const cudaEvent_t event : done_) {
    const cudaError_t error = cudaEventSynchronize(event);
    if (error != cudaSuccess) return error;
  }
  int i = 0;
  cudaError_t error = bytes > 0 ? start(0, i) : cudaSuccess;
  for (size_t offset = 0; error == cudaSuccess && offset < bytes; offset += kBytes, i ^= 1) {
    if (offset + kBytes < bytes) error = start(offset + kBytes, i ^ 1);
    if (error == cudaSuccess) error = cudaEventSynchronize(done_[i]);
    if (error == cudaSuccess) {
      memcpy(static_cast<char*>(host_dst) + offset, buffer_[i], std::min(kBytes, bytes - offset));
    }
  }
  return error;
}

}  // namespace rill::cuda
