#include "tests/support/devices.h"

#include <cstdlib>
#include <utility>

#include "kernels/device/guarded_device.h"

namespace rill::test {

std::vector<std::string> DeviceNames() { return {"ref", "cpu", "cuda"}; }

std::string WhyAbsent(const std::string& name) {
  if (name != "cuda") return "";
  static const absl::Status status = OpenDevice("cuda").status();
  const bool absent = absl::IsNotFound(status) || absl::IsUnavailable(status);
  return absent ? std::string(status.message()) : "";
}

int64_t Repetitions(int64_t usually, int64_t few) { return std::getenv("RILL_TEST_UNDER_TOOL") == nullptr ? usually : few; }

int SmBudget() {
  const char* budget = std::getenv("RILL_TEST_SM_BUDGET");
  return budget == nullptr ? 0 : std::atoi(budget);
}

absl::StatusOr<std::unique_ptr<Device>> OpenTestDevice(const std::string& name, int n_threads) {
  absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(name, n_threads, name == "cuda" ? SmBudget() : 0);
  if (!device.ok() || !(*device)->is_host()) return device;
  return GuardDevice(*std::move(device));
}

void DeviceTest::SetUp() {
  if (const std::string why = WhyAbsent(GetParam()); !why.empty()) GTEST_SKIP() << why;
  absl::StatusOr<std::unique_ptr<Device>> opened = OpenTestDevice(GetParam());
  ASSERT_TRUE(opened.ok()) << opened.status();
  device_ = *std::move(opened);
  rig_ = std::make_unique<Rig>(*device_);
}

}  // namespace rill::test
