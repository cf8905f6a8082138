#if defined(__x86_64__)
#define RILL_SIMD_AVX2 1
#define RILL_SIMD_NAMESPACE cpu_avx2
#include "kernels/cpu/bodies.inl.h"

namespace rill::cpu {

const Isa& Avx2Isa() {
  static constexpr Isa kIsa = cpu_avx2::MakeIsa(CpuIsa::kAvx2);
  return kIsa;
}

}  // namespace rill::cpu
#endif
