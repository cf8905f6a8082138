// kernels/device/device.h — the seam between Rill and hardware: memory, copies, completion, faults, operators.
//
// A Device knows no model: anything with a token, a head or an expert in its name is an operator (kernels/ops).
// Thread-safe: allocation, copies, info, fault. Operators may be started from several threads, but two sessions that
// share a host device take turns on its thread pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/device/op_table.h"

namespace rill {

class ThreadPool;

struct DeviceInfo {
  std::string name;          // "ref", "cpu", "cuda:0"
  std::string description;   // "AVX-512, 2 threads", "NVIDIA H200, sm_90, 132 SMs"
  std::string numerics;      // identifies the arithmetic: equal strings promise equal bits for equal calls
  uint64_t memory_bytes = 0; // total memory of the device; 0 when unknown
  int n_threads = 1;         // host threads an operator may use
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceInfo& info() const = 0;
  virtual const OpTable& ops() const = 0;

  // True when operators read and write host memory directly: mapped weights are used in place and copies are memcpy.
  virtual bool is_host() const = 0;

  // At least 64-byte aligned (256 on GPUs); contents undefined. ResourceExhausted names the bytes asked for and those
  // in use. Free accepts null.
  virtual absl::StatusOr<void*> Allocate(size_t bytes) = 0;
  virtual void Free(void* data, size_t bytes) = 0;
  // A hint: this memory, whole from Allocate, is touched here and there and may never be touched whole. Host devices keep
  // it out of large pages, of which a few touched bytes would take two megabytes each.
  virtual void TouchedSparsely(void* data, size_t bytes) {}

  // Bytes handed out by Allocate and not yet freed, and the highest that sum has been.
  virtual uint64_t allocated_bytes() const = 0;
  virtual uint64_t peak_allocated_bytes() const = 0;

  // In order with the operators. CopyIn and CopyOut have finished with host memory when they return.
  virtual absl::Status CopyIn(void* device_dst, const void* host_src, size_t bytes) = 0;
  virtual absl::Status CopyOut(void* host_dst, const void* device_src, size_t bytes) = 0;
  virtual absl::Status CopyOn(void* device_dst, const void* device_src, size_t bytes) = 0;
  virtual absl::Status Fill(void* device_dst, uint8_t byte, size_t bytes) = 0;

  // Waits for everything started on this device and returns the first error of it.
  virtual absl::Status Synchronize() = 0;

  // Ok until the device is lost, then the same Unavailable status for ever (see kernels/cuda/fault.h).
  virtual absl::Status fault() const = 0;

  // The pool host operators share; null on devices that have none.
  virtual ThreadPool* pool() { return nullptr; }
};

// Opens "ref", "cpu" or "cuda" / "cuda:N". `n_threads` is for host devices; 0 takes the number of processors this
// process may use. NotFound: no such device, or Rill was built without it; Unavailable: no driver.
// `sm_budget` is for GPUs: how many multiprocessors Rill may use, 0 for all (kernels/cuda/open_cuda.h); InvalidArgument
// on a host device.
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(std::string_view name, int n_threads = 0, int sm_budget = 0);

}  // namespace rill
