#include "kernels/cuda/fault.h"

#include <algorithm>
#include <iterator>

#include "gtest/gtest.h"

namespace rill::cuda {
namespace {

constexpr int kSticky[] = {226, 700, 702, 714, 715, 716, 717, 718, 719, 911};

TEST(CudaFault, ExactlyTheTenCodesAreSticky) {
  for (int code = 0; code < 1000; ++code) {
    const bool expected = std::find(std::begin(kSticky), std::end(kSticky), code) != std::end(kSticky);
    EXPECT_EQ(Triage(code) == FaultKind::kSticky, expected) << code;
  }
}

TEST(CudaFault, EachKindHasItsCode) {
  EXPECT_TRUE(ToStatus(0, "", "", "").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ToStatus(2, "cudaErrorMemoryAllocation", "out of memory", "allocate")));
  EXPECT_TRUE(absl::IsUnavailable(ToStatus(35, "cudaErrorInsufficientDriver", "driver too old", "open")));
  EXPECT_TRUE(absl::IsUnavailable(ToStatus(100, "cudaErrorNoDevice", "no device", "open")));
  EXPECT_TRUE(absl::IsUnavailable(ToStatus(700, "cudaErrorIllegalAddress", "illegal address", "step")));
  EXPECT_TRUE(absl::IsInternal(ToStatus(1, "cudaErrorInvalidValue", "invalid value", "copy")));
}

TEST(CudaFault, MessageNamesWhatWasDoneAndTheCode) {
  const absl::Status status = ToStatus(719, "cudaErrorLaunchFailure", "launch failure", "mla_decode");
  EXPECT_NE(status.message().find("mla_decode: CUDA error 719 cudaErrorLaunchFailure"), std::string::npos) << status;
}

TEST(CudaFault, AnOrdinaryErrorIsForgotten) {
  FaultLatch latch;
  EXPECT_TRUE(absl::IsResourceExhausted(latch.Take(2, "oom", "out of memory", "allocate")));
  EXPECT_TRUE(latch.lost().ok());
  EXPECT_TRUE(latch.Take(0, "", "", "next").ok());
}

TEST(CudaFault, ALossIsSaidForEverInItsFirstWords) {
  for (const int code : kSticky) {
    FaultLatch latch;
    const absl::Status first = latch.Take(code, "name", "text", "first call");
    EXPECT_TRUE(absl::IsUnavailable(first)) << first;
    EXPECT_EQ(latch.Take(0, "", "", "a call that would have worked"), first);
    EXPECT_EQ(latch.Take(2, "oom", "out of memory", "allocate"), first);
    EXPECT_EQ(latch.lost(), first);
  }
}

}  // namespace
}  // namespace rill::cuda
