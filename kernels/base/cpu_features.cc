#include "kernels/base/cpu_features.h"

#include <cstdlib>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rill {
namespace {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows this one by name.
bool HasF16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

}  // namespace

std::string_view Name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kGeneric:
      return "generic";
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kNeon:
      return "neon";
  }
  return "?";
}

bool Supports(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kGeneric:
      return true;
#if defined(__x86_64__)
    case CpuIsa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
    case CpuIsa::kAvx512:
      return Supports(CpuIsa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq");
#endif
#if defined(__aarch64__)
    case CpuIsa::kNeon:
      return true;  // part of the base architecture, fused multiply-add and half floats included
#endif
    default:
      return false;
  }
}

CpuIsa BestCpuIsa() {
  constexpr CpuIsa kWidestFirst[] = {CpuIsa::kAvx512, CpuIsa::kAvx2, CpuIsa::kNeon,
                                     CpuIsa::kGeneric};
  const char* asked = std::getenv("RILL_CPU_ISA");
  for (const CpuIsa isa : kWidestFirst) {
    if (asked != nullptr && Name(isa) == asked && Supports(isa)) return isa;
  }
  for (const CpuIsa isa : kWidestFirst) {
    if (Supports(isa)) return isa;
  }
  return CpuIsa::kGeneric;
}

int UsableProcessors() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

}  // namespace rill
