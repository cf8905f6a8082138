// kernels/device/host_device.h — memory and copies for devices whose operators work on host memory.
//
// `ref` and `cpu` derive from it and add info(), ops() and, where they have one, a pool.
// Thread-safe.
#pragma once

#include <atomic>

#include "kernels/device/device.h"

namespace rill {

class HostDevice : public Device {
 public:
  bool is_host() const final { return true; }

  // From 1 MiB on, memory is an anonymous mapping of its own, from 4 MiB on of large pages where
  // the system has them (2 MiB on Linux): pages nobody touches cost nothing, and they go back to
  // the system on Free. ResourceExhausted names the bytes asked for and those in use; nothing is
  // counted then.
  absl::StatusOr<void*> Allocate(size_t bytes) final;
  void Free(void* data, size_t bytes) final;
  void TouchedSparsely(void* data, size_t bytes) final;

  uint64_t allocated_bytes() const final { return allocated_.load(std::memory_order_relaxed); }
  uint64_t peak_allocated_bytes() const final { return peak_.load(std::memory_order_relaxed); }

  absl::Status CopyIn(void* device_dst, const void* host_src, size_t bytes) final;
  absl::Status CopyOut(void* host_dst, const void* device_src, size_t bytes) final;
  absl::Status CopyOn(void* device_dst, const void* device_src, size_t bytes) final;
  absl::Status Fill(void* device_dst, uint8_t byte, size_t bytes) final;

  absl::Status Synchronize() final {
    return absl::OkStatus();
  }  // operators have finished when they return
  absl::Status fault() const final { return absl::OkStatus(); }

 private:
  void Count(uint64_t bytes);

  std::atomic<uint64_t> allocated_{0};
  std::atomic<uint64_t> peak_{0};
};

}  // namespace rill
