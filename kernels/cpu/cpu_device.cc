#include "kernels/cpu/cpu_device.h"

#if defined(__linux__)
#include <unistd.h>
#endif

#include "absl/strings/str_cat.h"
#include "kernels/cpu/table.h"

namespace rill::cpu {
namespace {

uint64_t PhysicalMemory() {
#if defined(__linux__)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) return static_cast<uint64_t>(pages) * static_cast<uint64_t>(page);
#endif
  return 0;
}

std::string Describe(CpuIsa isa, int n_threads) {
  const std::string_view name = Name(isa);
  return absl::StrCat(absl::string_view(name.data(), name.size()), ", ", n_threads,
                      n_threads == 1 ? " thread" : " threads");
}

}  // namespace

CpuDevice::CpuDevice(int n_threads, const Isa& isa)
    : isa_(isa),
      pool_(n_threads),
      scratch_(static_cast<float*>(
          ::operator new(sizeof(float) * kScratchFloats * pool_.size(), std::align_val_t(64)))) {
  info_.name = "cpu";
  info_.description = Describe(isa.id, pool_.size());
  info_.numerics = "cpu-fma16-1";  // every instruction set computes the same bits: docs/NUMERICS.md
  info_.memory_bytes = PhysicalMemory();
  info_.n_threads = pool_.size();
}

const OpTable& CpuDevice::ops() const { return Table(); }

const Isa* GetIsa(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kGeneric:
      return &GenericIsa();
#if defined(__x86_64__)
    case CpuIsa::kAvx2:
      return &Avx2Isa();
    case CpuIsa::kAvx512:
      return &Avx512Isa();
#elif defined(__aarch64__)
    case CpuIsa::kNeon:
      return &NeonIsa();
#endif
    default:
      return nullptr;
  }
}

}  // namespace rill::cpu
