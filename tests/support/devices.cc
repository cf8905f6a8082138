#include "tests/support/devices.h"

#include <utility>

#include "kernels/device/guarded_device.h"

namespace rill::test {

std::vector<std::string> DeviceNames() { return {"ref", "cpu", "cuda"}; }

absl::StatusOr<std::unique_ptr<Device>> OpenTestDevice(const std::string& name, int n_threads) {
  absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(name, n_threads);
  if (!device.ok() || !(*device)->is_host()) return device;
  return GuardDevice(*std::move(device));
}

void DeviceTest::SetUp() {
  absl::StatusOr<std::unique_ptr<Device>> opened = OpenTestDevice(GetParam());
  if (!opened.ok() && GetParam() == "cuda" &&
      (absl::IsNotFound(opened.status()) || absl::IsUnavailable(opened.status()))) {
    GTEST_SKIP() << opened.status().message();
  }
  ASSERT_TRUE(opened.ok()) << opened.status();
  device_ = *std::move(opened);
  rig_ = std::make_unique<Rig>(*device_);
}

}  // namespace rill::test
