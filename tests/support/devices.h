// tests/support/devices.h — the devices a test runs on, and the fixture that opens one.
//
//   class AddTest : public DeviceTest {};
//   TEST_P(AddTest, ...) { RILL_NEEDS_OP(add); ... Run(&OpTable::add, args); }
//   RILL_FOR_EACH_DEVICE(AddTest);
// Host devices are wrapped in a guarded device, so every operator test is a test for overruns as
// well.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/device/device.h"
#include "tests/support/counting_alloc.h"
#include "tests/support/random.h"
#include "tests/support/rig.h"

namespace rill::test {

// "ref", "cpu", "cuda". A device this machine or this build lacks is in the list and shows as
// skipped.
std::vector<std::string> DeviceNames();

// Why a test on this device has to be skipped: the machine or the build has none. Empty when it
// has one, and when opening it fails for another reason, which then is the test's failure.
std::string WhyAbsent(const std::string& name);

// How many multiprocessors of a GPU the tests may use: the environment variable RILL_TEST_SM_BUDGET, 0 (all) if it is not set.
int SmBudget();

// Repetitions of a case: `few` under a tool that makes each launch a thousand times as long (RILL_TEST_UNDER_TOOL, tests/cuda.sh).
int64_t Repetitions(int64_t usually, int64_t few);

// Guarded when it is a host device. `n_threads` as in OpenDevice.
absl::StatusOr<std::unique_ptr<Device>> OpenTestDevice(const std::string& name, int n_threads = 0);

class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;

  Device& device() { return *device_; }
  Rig& rig() { return *rig_; }
  bool is_host() const { return device_->is_host(); }

  // How far apart this device may be from exact arithmetic: `host` on host devices, wider where
  // activations may be bf16 (docs/NUMERICS.md).
  double Tolerance(double host) const { return is_host() ? host : std::max(host, 2e-2); }

  // Runs the operator to its end and expects success and, on host devices, no heap allocation.
  template <typename Args>
  void Run(absl::Status (*OpTable::*op)(Device&, const Args&), const Args& args) {
    const uint64_t allocations = AllocationCount();
    absl::Status status = (device().ops().*op)(device(), args);
    const uint64_t n_allocated = AllocationCount() - allocations;
    if (status.ok()) status = device().Synchronize();
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(n_allocated == 0 || !is_host())
        << "the operator made " << n_allocated << " heap allocations";
  }

  Random random_;

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Rig> rig_;
};

#define RILL_NEEDS_OP(op)           \
  if (device().ops().op == nullptr) \
  GTEST_SKIP() << "device " << GetParam() << " has no operator " #op

#define RILL_FOR_EACH_DEVICE(Fixture)                                                          \
  INSTANTIATE_TEST_SUITE_P(Devices, Fixture, ::testing::ValuesIn(::rill::test::DeviceNames()), \
                           [](const auto& info) { return info.param; })

// For misuse tables: the message of Check(args), or "" when it is content.
template <typename Args>
std::string Complaint(const Args& args) {
  const absl::Status status = Check(args);
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

// Expects that `spoil` makes good arguments bad and that the complaint begins with this field.
template <typename Args, typename Spoil>
void ExpectRefused(const Args& good, const std::string& field, Spoil spoil) {
  Args bad = good;
  spoil(bad);
  const std::string complaint = Complaint(bad);
  EXPECT_EQ(complaint.substr(0, field.size()), field) << "complaint: \"" << complaint << "\"";
}

}  // namespace rill::test
