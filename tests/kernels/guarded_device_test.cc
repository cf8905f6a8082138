#include "kernels/device/guarded_device.h"

#include <cmath>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "kernels/device/buffer.h"
#include "kernels/device/host_device.h"
#include "kernels/ops/add.h"

namespace rill::test {
namespace {

int overrun = 0;  // where Add writes besides its result, relative to the end of x; 0 for nowhere

absl::Status OverrunningAdd(Device&, const AddArgs& args) {
  float* x = args.x.f32();
  for (int64_t i = 0; i < args.x.size(); ++i) x[i] += args.y.f32()[i];
  char* end = static_cast<char*>(args.x.data) + args.x.bytes();
  if (overrun != 0) end[overrun] = 1;
  return absl::OkStatus();
}

// A host device with one operator, which steps outside when it is told to.
class CarelessDevice final : public HostDevice {
 public:
  CarelessDevice() {
    info_.name = "careless";
    ops_.add = OverrunningAdd;
  }
  const DeviceInfo& info() const override { return info_; }
  const OpTable& ops() const override { return ops_; }

 private:
  DeviceInfo info_;
  OpTable ops_;
};

class GuardedDeviceTest : public ::testing::Test {
 protected:
  GuardedDeviceTest() : device_(*GuardDevice(std::make_unique<CarelessDevice>())) { overrun = 0; }

  absl::Status AddOnce(const Buffer& x, const Buffer& y) {
    const int64_t n = static_cast<int64_t>(x.bytes() / sizeof(float));
    return device_->ops().add(*device_,
                              AddArgs{F32View(x.as<float>(), 1, n), F32View(y.as<float>(), 1, n)});
  }

  std::unique_ptr<Device> device_;
};

TEST_F(GuardedDeviceTest, LetsCorrectOperatorsPass) {
  const Buffer x = *Buffer::Allocate(*device_, 40), y = *Buffer::Allocate(*device_, 40);
  ASSERT_TRUE(device_->Fill(x.data(), 0, 40).ok());
  ASSERT_TRUE(device_->Fill(y.data(), 0, 40).ok());
  EXPECT_TRUE(AddOnce(x, y).ok());
  EXPECT_TRUE(device_->Synchronize().ok());
  EXPECT_EQ(device_->info().name, "careless");
  EXPECT_TRUE(device_->is_host());
  EXPECT_EQ(device_->ops().swiglu, nullptr) << "an operator the inner device lacks is lacking";
}

TEST_F(GuardedDeviceTest, CatchesAnOverrunAndNamesTheOperator) {
  for (const int where : {1, 255, -40 - 1, -40 - 256}) {
    device_ = *GuardDevice(std::make_unique<CarelessDevice>());
    const Buffer x = *Buffer::Allocate(*device_, 40), y = *Buffer::Allocate(*device_, 40);
    overrun = where;
    const absl::Status status = AddOnce(x, y);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_TRUE(absl::StrContains(
        status.message(),
        absl::StrCat("after add: buffer 1 of 40 bytes was overrun at byte ", 40 + where)))
        << status;
    overrun = 0;
    EXPECT_EQ(AddOnce(x, y), status) << "the first finding stays";
    EXPECT_EQ(device_->Synchronize(), status);
  }
}

TEST_F(GuardedDeviceTest, CatchesWritesOutsideOperatorsWhenTheBufferIsFreed) {
  {
    const Buffer x = *Buffer::Allocate(*device_, 10);
    x.as<char>()[10] = 1;
  }
  const absl::Status status = device_->Synchronize();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::StrContains(status.message(),
                                "after free: buffer 1 of 10 bytes was overrun at byte 10"))
      << status;
}

TEST_F(GuardedDeviceTest, NoticesAFreeThatDoesNotMatch) {
  void* data = *device_->Allocate(32);
  device_->Free(data, 33);
  EXPECT_TRUE(absl::StrContains(device_->Synchronize().message(),
                                "free of 33 bytes, another size was given"));
  device_->Free(data, 32);
  EXPECT_EQ(device_->allocated_bytes(), 0u);
}

TEST_F(GuardedDeviceTest, FreshMemoryIsNan) {
  const Buffer x = *Buffer::Allocate(*device_, 64);
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(x.as<float>()[i]));
}

TEST_F(GuardedDeviceTest, CountsWhatTheCallerAskedFor) {
  {
    const Buffer x = *Buffer::Allocate(*device_, 100);
    EXPECT_EQ(device_->allocated_bytes(), 100u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.data()) % 64, 0u);
  }
  EXPECT_EQ(device_->allocated_bytes(), 0u);
  EXPECT_EQ(device_->peak_allocated_bytes(), 100u);
  EXPECT_EQ(device_->Allocate(~size_t{0}).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace rill::test
