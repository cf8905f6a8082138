// kernels/cuda/cuda_device.h — one GPU as a Device: one stream, plain allocations, pinned staging, fault latch.
//
// Everything a device does is in the order of its one stream. A device may be limited to some of the GPU's
// multiprocessors (sm_budget): where the driver has green contexts the limit holds for every kernel, else for those with
// a persistent grid, which are the ones of the decode step.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "kernels/cuda/fault.h"
#include "kernels/device/device.h"

namespace rill::cuda {

class Staging;
class StreamOwner;

class CudaDevice final : public Device {
 public:
  static absl::StatusOr<std::unique_ptr<Device>> Open(int index, int sm_budget, size_t shared_budget);
  ~CudaDevice() override;

  const DeviceInfo& info() const override { return info_; }
  const OpTable& ops() const override;
  bool is_host() const override { return false; }

  absl::StatusOr<void*> Allocate(size_t bytes) override;
  void Free(void* data, size_t bytes) override;
  uint64_t allocated_bytes() const override { return allocated_.load(std::memory_order_relaxed); }
  uint64_t peak_allocated_bytes() const override { return peak_.load(std::memory_order_relaxed); }

  absl::Status CopyIn(void* device_dst, const void* host_src, size_t bytes) override;
  absl::Status CopyOut(void* host_dst, const void* device_src, size_t bytes) override;
  absl::Status CopyOn(void* device_dst, const void* device_src, size_t bytes) override;
  absl::Status Fill(void* device_dst, uint8_t byte, size_t bytes) override;
  absl::Status Synchronize() override;
  absl::Status fault() const override { return latch_.lost(); }

  // For the operators of this folder. ---------------------------------------------------------------------------

  cudaStream_t stream() const { return stream_; }
  int sm_count() const { return sm_count_; }           // multiprocessors this device may use
  size_t max_shared_bytes() const { return shared_; }  // a block may ask for
  bool has_wgmma() const { return wgmma_; }            // HasWgmma() of this GPU
  // A number in device memory for kernels whose last block does more: 0 between kernels.
  unsigned* ticket() const { return ticket_; }

  // Makes this GPU the calling thread's and reports a lost device. First call of every operator.
  absl::Status Begin();
  // The status of a CUDA call; `what` names it.
  absl::Status Take(cudaError_t error, absl::string_view what);
  // The status of the launch just made.
  absl::Status Launched(absl::string_view what) { return Take(cudaGetLastError(), what); }

  // Memory of the device's own for operators whose contract gives them none; valid until the next call that asks for
  // more. Grows to the largest request and stays: a token path that repeats itself allocates nothing.
  absl::StatusOr<void*> Scratch(size_t bytes);
  // The same in pinned host memory, mapped for the GPU.
  absl::StatusOr<void*> PinnedScratch(size_t bytes);

 private:
  CudaDevice() = default;
  absl::Status Setup(int index, int sm_budget, size_t shared_budget);

  DeviceInfo info_;
  int index_ = 0;
  int sm_count_ = 0;
  size_t shared_ = 0;
  bool wgmma_ = false;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<StreamOwner> stream_owner_;
  std::unique_ptr<Staging> staging_;
  FaultLatch latch_;
  std::atomic<uint64_t> allocated_{0}, peak_{0};
  std::mutex scratch_mutex_;
  void* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
  unsigned* ticket_ = nullptr;
  void* pinned_ = nullptr;
  size_t pinned_bytes_ = 0;
};

inline CudaDevice& Cast(Device& device) { return static_cast<CudaDevice&>(device); }

}  // namespace rill::cuda
