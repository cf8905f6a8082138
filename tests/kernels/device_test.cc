#include "kernels/device/device.h"

#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "kernels/device/buffer.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

TEST(OpenDevice, KnowsItsNames) {
  for (const char* name : {"ref", "cpu"}) {
    const auto device = OpenDevice(name, 2);
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->info().name, name);
    EXPECT_FALSE((*device)->info().numerics.empty());
    EXPECT_TRUE((*device)->is_host());
  }
}

TEST(OpenDevice, HostDevicesHaveEveryOperator) {
  for (const char* name : {"ref", "cpu"}) {
    const auto device = *OpenDevice(name, 1);
#define RILL_EXPECT_OP(op, Args) EXPECT_NE(device->ops().op, nullptr) << name << " lacks " #op;
    RILL_FOR_EACH_OP(RILL_EXPECT_OP)
#undef RILL_EXPECT_OP
  }
}

TEST(OpenDevice, UnknownNamesAreToldTheKnownOnes) {
  for (const char* name :
       {"", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999", "REF"}) {
    const auto device = OpenDevice(name);
    ASSERT_FALSE(device.ok()) << name;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kNotFound) << device.status();
    EXPECT_TRUE(absl::StrContains(device.status().message(), "\"ref\", \"cpu\", \"cuda\""))
        << device.status();
  }
}

TEST(OpenDevice, RefusesANegativeNumberOfThreads) {
  EXPECT_EQ(OpenDevice("cpu", -1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OpenDevice, AbsentCudaIsAStatus) {
  const auto device = OpenDevice("cuda:63");
  ASSERT_FALSE(device.ok());
  EXPECT_TRUE(absl::IsNotFound(device.status()) || absl::IsUnavailable(device.status()))
      << device.status();
}

class MemoryTest : public DeviceTest {
 protected:
  // Straight from OpenDevice: the guarded device counts for itself.
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    bare_ = *OpenDevice(GetParam(), 1);
  }
  std::unique_ptr<Device> bare_;
};

TEST_P(MemoryTest, CountsWhatIsHandedOut) {
  const uint64_t start = bare_->allocated_bytes();
  {
    Buffer small = *Buffer::Allocate(*bare_, 100);
    EXPECT_EQ(bare_->allocated_bytes(), start + 100);
    Buffer large = *Buffer::Allocate(*bare_, 5 << 20);
    EXPECT_EQ(bare_->allocated_bytes(), start + 100 + (5 << 20));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % 64, 0u);
    Buffer moved = std::move(small);
    EXPECT_EQ(bare_->allocated_bytes(), start + 100 + (5 << 20));
  }
  EXPECT_EQ(bare_->allocated_bytes(), start);
  EXPECT_EQ(bare_->peak_allocated_bytes(), start + 100 + (5 << 20));
  bare_->Free(nullptr, 10);
  EXPECT_EQ(bare_->allocated_bytes(), start);
}

TEST_P(MemoryTest, ExhaustionNamesBothNumbersAndCountsNothing) {
  Buffer held = *Buffer::Allocate(*bare_, 1000);
  for (const size_t bytes : {size_t{1} << 60, ~size_t{0}, ~size_t{0} - 4096}) {
    const auto data = bare_->Allocate(bytes);
    ASSERT_FALSE(data.ok());
    EXPECT_EQ(data.status().code(), absl::StatusCode::kResourceExhausted) << data.status();
    EXPECT_TRUE(absl::StrContains(data.status().message(), absl::StrCat(bytes))) << data.status();
    EXPECT_TRUE(absl::StrContains(data.status().message(), "1000")) << data.status();
  }
  EXPECT_EQ(bare_->allocated_bytes(), 1000u);
  EXPECT_TRUE(Buffer::Allocate(*bare_, 64).ok());
}

TEST_P(MemoryTest, CopiesAndFills) {
  const size_t n = 3 << 20;
  std::vector<uint8_t> in(n), out(n);
  for (size_t i = 0; i < n; ++i) in[i] = static_cast<uint8_t>(i * 7 + i / 256);
  const Buffer a = *Buffer::Allocate(*bare_, n), b = *Buffer::Allocate(*bare_, n);
  ASSERT_TRUE(bare_->CopyIn(a.data(), in.data(), n).ok());
  ASSERT_TRUE(bare_->CopyOn(b.data(), a.data(), n).ok());
  ASSERT_TRUE(bare_->Fill(a.data(), 0x5A, n).ok());
  ASSERT_TRUE(bare_->CopyOut(out.data(), b.data(), n).ok());
  EXPECT_EQ(out, in);
  ASSERT_TRUE(bare_->CopyOut(out.data(), a.data(), n).ok());
  EXPECT_EQ(out, std::vector<uint8_t>(n, 0x5A));
  EXPECT_TRUE(bare_->CopyIn(a.data(), in.data(), 0).ok());
  EXPECT_TRUE(bare_->Synchronize().ok());
  EXPECT_TRUE(bare_->fault().ok());
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

TEST_P(MemoryTest, UntouchedPagesCostNothing) {
  if (!is_host()) GTEST_SKIP() << "host memory only";
  const uint64_t before = ResidentBytes();
  if (before == 0) GTEST_SKIP() << "no /proc here";
  const Buffer buffer = *Buffer::Allocate(*bare_, size_t{1} << 30);
  EXPECT_LT(ResidentBytes(), before + (64 << 20));
  memset(buffer.data(), 1, 1 << 20);
  EXPECT_LT(ResidentBytes(), before + (64 << 20));
}

RILL_FOR_EACH_DEVICE(MemoryTest);

}  // namespace
}  // namespace rill::test
