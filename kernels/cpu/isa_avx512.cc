#if defined(__x86_64__)
#define RILL_SIMD_AVX512 1
#define RILL_SIMD_NAMESPACE cpu_avx512
#include "kernels/cpu/bodies.inl.h"

namespace rill::cpu {

const Isa& Avx512Isa() {
  static constexpr Isa kIsa = cpu_avx512::MakeIsa(CpuIsa::kAvx512);
  return kIsa;
}

}  // namespace rill::cpu
#endif
