// kernels/base/cpu_features.h — what this processor and this process may use.
#pragma once

#include <string_view>

namespace rill {

// The instruction sets the `cpu` device has bodies for.
enum class CpuIsa { kGeneric = 0, kAvx2 = 1, kAvx512 = 2, kNeon = 3 };

std::string_view Name(
    CpuIsa isa);  // "generic", "avx2", "avx512", "neon": also the values of RILL_CPU_ISA

// Whether this processor runs `isa`. kAvx2 includes FMA and F16C; kAvx512 is F, BW, VL and DQ on
// top of that.
bool Supports(CpuIsa isa);

// The widest supported set, or the one the environment variable RILL_CPU_ISA names if this
// processor supports it; an unknown or unsupported name is ignored.
CpuIsa BestCpuIsa();

// Processors the calling thread may be scheduled on; at least 1.
int UsableProcessors();

}  // namespace rill
