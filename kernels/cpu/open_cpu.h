// kernels/cpu/open_cpu.h — the portable SIMD backend with a thread pool as a device.
#pragma once

#include <memory>

#include "kernels/device/device.h"

namespace rill {

// `n_threads` as in OpenDevice. The instruction set is picked once, here; the environment variable
// RILL_CPU_ISA (generic, avx2, avx512, neon) narrows it for tests.
std::unique_ptr<Device> OpenCpuDevice(int n_threads);

}  // namespace rill
