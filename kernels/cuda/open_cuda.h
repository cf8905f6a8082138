// kernels/cuda/open_cuda.h — the one door to the CUDA backend; no CUDA header needed to include it.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"

namespace rill {

// `sm_budget` is how many of the GPU's multiprocessors Rill may use, so that perception can have the rest; 0 means all.
// The hardware gives them out in groups (8 on Hopper and Orin): the description of the device says how many it got.
// `shared_budget` is how many bytes of shared memory a block may have, as if the GPU had no more (some have 99 KB, where an
// Orin has 163 and an H200 227); 0 means what there is.
// NotFound: built without CUDA, or no such device; Unavailable: no driver on this machine.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int index, int sm_budget = 0, size_t shared_budget = 0);

}  // namespace rill
