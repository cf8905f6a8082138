#include "kernels/cpu/open_cpu.h"

#include "kernels/cpu/cpu_device.h"

namespace rill {

std::unique_ptr<Device> OpenCpuDevice(int n_threads) {
  // BestCpuIsa only names sets that this architecture has bodies for.
  return std::make_unique<cpu::CpuDevice>(n_threads > 0 ? n_threads : UsableProcessors(),
                                          *cpu::GetIsa(BestCpuIsa()));
}

}  // namespace rill
