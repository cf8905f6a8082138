// kernels/cuda/open_cuda.h — the one door to the CUDA backend; no CUDA header needed to include it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"

namespace rill {

// NotFound: built without CUDA, or no such device; Unavailable: no driver on this machine.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int index);

}  // namespace rill
