// kernels/cuda/signal.cuh — mbarriers: signals in shared memory that count arrivals. A use is over when all arrivals of it are there; waiting
// for use `use` (from 0) means waiting for its end. sm_80's instructions; sm_90 sleeps while it waits.
#pragma once

#include <cstdint>

#include "kernels/cuda/math.cuh"

namespace rill::cuda {

__device__ __forceinline__ void SetSignal(uint32_t signal, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(signal), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void ArriveAt(uint32_t signal) {
  asm volatile("{\n\t.reg .b64 state;\n\tmbarrier.arrive.shared.b64 state, [%0];\n\t}" ::"r"(signal) : "memory");
}
// Arrives when all copies have landed that this thread started.
__device__ __forceinline__ void ArriveWithCopies(uint32_t signal) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(signal) : "memory");
}
__device__ __forceinline__ bool IsOver(uint32_t signal, unsigned use) {
  uint32_t over;
#if __CUDA_ARCH__ >= 900
  asm volatile("{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
               : "=r"(over) : "r"(signal), "r"(use & 1) : "memory");
#else
  asm volatile("{\n\t.reg .pred p;\n\tmbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
               : "=r"(over) : "r"(signal), "r"(use & 1) : "memory");
#endif
  return over != 0;
}
__device__ __forceinline__ void AwaitUse(uint32_t signal, unsigned use) {
  while (!IsOver(signal, use)) {
  }
}

}  // namespace rill::cuda
