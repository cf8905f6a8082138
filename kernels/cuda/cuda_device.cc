#include "kernels/cuda/cuda_device.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/cuda/open_cuda.h"
#include "kernels/cuda/sm90/wgmma.h"
#include "kernels/cuda/staging.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/table.h"

namespace rill::cuda {

absl::StatusOr<std::unique_ptr<Device>> CudaDevice::Open(int index, int sm_budget, size_t shared_budget) {
  int n_devices = 0;
  const cudaError_t counted = cudaGetDeviceCount(&n_devices);
  if (counted != cudaSuccess) {
    // Whatever the reason, there is no usable driver; the latch must not remember it.
    return absl::UnavailableError(absl::StrCat("device cuda:", index, ": no driver or no GPU on this machine (CUDA error ",
                                               static_cast<int>(counted), " ", cudaGetErrorName(counted), ")"));
  }
  if (index < 0 || index >= n_devices) {
    return absl::NotFoundError(absl::StrCat("device cuda:", index, ": this machine has ", n_devices, " CUDA devices"));
  }
  std::unique_ptr<CudaDevice> device(new CudaDevice);
  RILL_RETURN_IF_ERROR(device->Setup(index, sm_budget, shared_budget));
  return std::unique_ptr<Device>(std::move(device));
}

absl::Status CudaDevice::Setup(int index, int sm_budget, size_t shared_budget) {
  index_ = index;
  RILL_RETURN_IF_ERROR(Begin());
  cudaDeviceProp properties = {};
  RILL_RETURN_IF_ERROR(Take(cudaGetDeviceProperties(&properties, index), "read device properties"));
  if (properties.major < 8) {
    return absl::NotFoundError(absl::StrCat("device cuda:", index, ": ", properties.name, " has compute capability ",
                                            properties.major, ".", properties.minor, ", Rill needs 8.0 or newer"));
  }
  shared_ = properties.sharedMemPerBlockOptin;
  if (shared_budget > 0) shared_ = std::min(shared_, shared_budget);
  wgmma_ = HasWgmma();
  RILL_ASSIGN_OR_RETURN(stream_owner_, StreamOwner::Create(index, properties.multiProcessorCount, sm_budget));
  stream_ = stream_owner_->stream();
  sm_count_ = stream_owner_->sm_count();
  RILL_ASSIGN_OR_RETURN(staging_, Staging::Create(stream_));
  void* ticket = nullptr;
  RILL_RETURN_IF_ERROR(Take(cudaMalloc(&ticket, sizeof(unsigned)), "allocate 4 bytes"));
  ticket_ = static_cast<unsigned*>(ticket);
  RILL_RETURN_IF_ERROR(Take(cudaMemsetAsync(ticket, 0, sizeof(unsigned), stream_), "fill device memory"));
  const std::string architecture = absl::StrCat("sm_", properties.major, properties.minor, wgmma_ ? "a" : "");
  info_.name = absl::StrCat("cuda:", index);
  info_.description = absl::StrCat(properties.name, ", ", architecture, ", ", sm_count_, " of ",
                                   properties.multiProcessorCount, " SMs", stream_owner_->is_green() ? " (green context)" : "");
  info_.numerics = absl::StrCat("cuda-9-", architecture, "-", sm_count_);
  info_.memory_bytes = properties.totalGlobalMem;
  return absl::OkStatus();
}

CudaDevice::~CudaDevice() {
  cudaSetDevice(index_);
  if (stream_ != nullptr) cudaStreamSynchronize(stream_);
  cudaFree(scratch_);
  cudaFree(ticket_);
  cudaFreeHost(pinned_);
}

const OpTable& CudaDevice::ops() const { return Table(); }

absl::Status CudaDevice::Begin() {
  RILL_RETURN_IF_ERROR(latch_.lost());
  return Take(cudaSetDevice(index_), "select the device");
}

absl::Status CudaDevice::Take(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // an error that is not sticky must not surface again at an innocent call
  return latch_.Take(static_cast<int>(error), cudaGetErrorName(error), cudaGetErrorString(error), what);
}

absl::StatusOr<void*> CudaDevice::Allocate(size_t bytes) {
  RILL_RETURN_IF_ERROR(Begin());
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    return Take(error, absl::StrCat("allocate ", bytes, " bytes with ", allocated_bytes(), " in use"));
  }
  const uint64_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  uint64_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  return data;
}

void CudaDevice::Free(void* data, size_t bytes) {
  if (data == nullptr) return;
  cudaSetDevice(index_);
  cudaFree(data);
  allocated_.fetch_sub(bytes, std::memory_order_relaxed);
}

absl::Status CudaDevice::CopyIn(void* device_dst, const void* host_src, size_t bytes) {
  RILL_RETURN_IF_ERROR(Begin());
  return Take(staging_->In(device_dst, host_src, bytes), "copy to the device");
}

absl::Status CudaDevice::CopyOut(void* host_dst, const void* device_src, size_t bytes) {
  RILL_RETURN_IF_ERROR(Begin());
  return Take(staging_->Out(host_dst, device_src, bytes), "copy from the device");
}

absl::Status CudaDevice::CopyOn(void* device_dst, const void* device_src, size_t bytes) {
  RILL_RETURN_IF_ERROR(Begin());
  return Take(cudaMemcpyAsync(device_dst, device_src, bytes, cudaMemcpyDeviceToDevice, stream_), "copy on the device");
}

absl::Status CudaDevice::Fill(void* device_dst, uint8_t byte, size_t bytes) {
  RILL_RETURN_IF_ERROR(Begin());
  return Take(cudaMemsetAsync(device_dst, byte, bytes, stream_), "fill device memory");
}

absl::Status CudaDevice::Synchronize() {
  RILL_RETURN_IF_ERROR(Begin());
  return Take(cudaStreamSynchronize(stream_), "wait for the device");
}

absl::StatusOr<void*> CudaDevice::Scratch(size_t bytes) {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  if (bytes <= scratch_bytes_) return scratch_;
  RILL_RETURN_IF_ERROR(Synchronize());  // work in flight may still use the old one
  Free(scratch_, scratch_bytes_);
  scratch_ = nullptr;
  scratch_bytes_ = 0;
  RILL_ASSIGN_OR_RETURN(scratch_, Allocate(bytes));
  scratch_bytes_ = bytes;
  return scratch_;
}

absl::StatusOr<void*> CudaDevice::PinnedScratch(size_t bytes) {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  if (bytes <= pinned_bytes_) return pinned_;
  RILL_RETURN_IF_ERROR(Synchronize());
  cudaFreeHost(pinned_);
  pinned_ = nullptr;
  pinned_bytes_ = 0;
  RILL_RETURN_IF_ERROR(Take(cudaHostAlloc(&pinned_, bytes, cudaHostAllocMapped), "allocate pinned host memory"));
  pinned_bytes_ = bytes;
  return pinned_;
}

}  // namespace rill::cuda

namespace rill {

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int index, int sm_budget, size_t shared_budget) {
  return cuda::CudaDevice::Open(index, sm_budget, shared_budget);
}

}  // namespace rill
