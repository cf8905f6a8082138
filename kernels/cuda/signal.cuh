// kernels/cuda/signal.cuh — mbarriers: signals in shared memory that count arrivals. A use is over when all its arrivals are there; waiting for
// use `use` (from 0) means waiting for its end.
//
// For what a thread did it arrives itself: racecheck does not take an arrival behind __syncwarp() for those of the warp's other lanes.
// Instructions are sm_80's; sm_90 sleeps while it waits.
#pragma once

#include <cstdint>

#include "kernels/cuda/math.cuh"

namespace rill::cuda {

__device__ __forceinline__ uint32_t SharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ __forceinline__ void SetSignal(const uint64_t& signal, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(SharedAddress(&signal)), "r"(arrivals) : "memory");
}
// The memory may be used otherwise.
__device__ __forceinline__ void EndSignal(const uint64_t& signal) {
  asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(SharedAddress(&signal)) : "memory");
}
__device__ __forceinline__ void Arrive(const uint64_t& signal) {
  asm volatile("{\n\t.reg .b64 state;\n\tmbarrier.arrive.shared.b64 state, [%0];\n\t}" ::"r"(SharedAddress(&signal)) : "memory");
}
// Arrives when all copies have landed that this thread started.
__device__ __forceinline__ void ArriveWithCopies(const uint64_t& signal) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(SharedAddress(&signal)) : "memory");
}
__device__ __forceinline__ void Await(const uint64_t& signal, unsigned use) {
#if __CUDA_ARCH__ >= 900
#define RILL_WAIT "try_wait"
#else
#define RILL_WAIT "test_wait"
#endif
  uint32_t over;
  do {
    asm volatile("{\n\t.reg .pred p;\n\tmbarrier." RILL_WAIT ".parity.shared.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
                 : "=r"(over) : "r"(SharedAddress(&signal)), "r"(use & 1) : "memory");
  } while (over == 0);
#undef RILL_WAIT
}

}  // namespace rill::cuda
