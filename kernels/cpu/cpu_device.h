// kernels/cpu/cpu_device.h — the `cpu` device: a thread pool, an instruction set and each worker's
// scratch memory.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "kernels/base/thread_pool.h"
#include "kernels/cpu/isa.h"
#include "kernels/device/host_device.h"

namespace rill::cpu {

class CpuDevice final : public HostDevice {
 public:
  CpuDevice(int n_threads, const Isa& isa);

  const DeviceInfo& info() const override { return info_; }
  const OpTable& ops() const override;
  ThreadPool* pool() override { return &pool_; }

  const Isa& isa() const { return isa_; }

  // kScratchFloats floats that belong to `worker` while it runs its part of a loop of the pool.
  float* scratch(int worker) { return scratch_.get() + worker * kScratchFloats; }

  // What every operator starts with; operators of this table are only ever called with a CpuDevice.
  static CpuDevice& From(Device& device) { return static_cast<CpuDevice&>(device); }

 private:
  struct FreeAligned {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };

  const Isa& isa_;
  ThreadPool pool_;
  std::unique_ptr<float, FreeAligned> scratch_;
  DeviceInfo info_;
};

}  // namespace rill::cpu
