#if defined(__aarch64__)
#define RILL_SIMD_NEON 1
#define RILL_SIMD_NAMESPACE cpu_neon
#include "kernels/cpu/bodies.inl.h"

namespace rill::cpu {

const Isa& NeonIsa() {
  static constexpr Isa kIsa = cpu_neon::MakeIsa(CpuIsa::kNeon);
  return kIsa;
}

}  // namespace rill::cpu
#endif
