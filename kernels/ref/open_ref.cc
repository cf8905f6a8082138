#include "kernels/ref/open_ref.h"

#include "kernels/device/host_device.h"
#include "kernels/ref/table.h"

namespace rill {
namespace {

class RefDevice final : public HostDevice {
 public:
  RefDevice() {
    info_.name = "ref";
    info_.description = "plain loops, 1 thread";
    info_.numerics = "ref-1";
  }
  const DeviceInfo& info() const override { return info_; }
  const OpTable& ops() const override { return ref::Table(); }

 private:
  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> OpenRefDevice() { return std::make_unique<RefDevice>(); }

}  // namespace rill
