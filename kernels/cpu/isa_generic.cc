#define RILL_SIMD_GENERIC 1
#define RILL_SIMD_NAMESPACE cpu_generic
#include "kernels/cpu/bodies.inl.h"

namespace rill::cpu {

const Isa& GenericIsa() {
  static constexpr Isa kIsa = cpu_generic::MakeIsa(CpuIsa::kGeneric);
  return kIsa;
}

}  // namespace rill::cpu
