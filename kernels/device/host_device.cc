#include "kernels/device/host_device.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr size_t kAlignment = 64;               // a cache line and a zmm register
constexpr size_t kMappingThreshold = 1u << 20;  // below it a mapping wastes more than it saves

// From here on the system is asked for its large pages (2 MiB): a matrix product that streams
// through small ones waits for address translation as long as for memory.
constexpr size_t kLargePagesThreshold = 4u << 20;

bool IsMapping(size_t bytes) { return bytes >= kMappingThreshold; }

void* AllocateMapping(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (bytes >= kLargePagesThreshold)
    madvise(data, bytes, MADV_HUGEPAGE);  // a wish: it may not be granted
#endif
  return data;
}

void* AllocateSmall(size_t bytes) {
  void* data = nullptr;
  if (posix_memalign(&data, kAlignment, AlignUp(bytes == 0 ? 1 : bytes, kAlignment)) != 0)
    return nullptr;
  return data;
}

}  // namespace

absl::StatusOr<void*> HostDevice::Allocate(size_t bytes) {
  void* data = IsMapping(bytes) ? AllocateMapping(bytes) : AllocateSmall(bytes);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("device ", info().name,
                                                     ": no host memory for ", bytes, " bytes, ",
                                                     allocated_bytes(), " bytes in use"));
  }
  Count(bytes);
  return data;
}

void HostDevice::Free(void* data, size_t bytes) {
  if (data == nullptr) return;
  allocated_.fetch_sub(bytes, std::memory_order_relaxed);
  if (IsMapping(bytes)) {
    munmap(data, bytes);
  } else {
    free(data);
  }
}

void HostDevice::TouchedSparsely(void* data, size_t bytes) {
#if defined(MADV_NOHUGEPAGE)
  if (IsMapping(bytes)) madvise(data, bytes, MADV_NOHUGEPAGE);
#endif
}

void HostDevice::Count(uint64_t bytes) {
  const uint64_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  uint64_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

absl::Status HostDevice::CopyIn(void* device_dst, const void* host_src, size_t bytes) {
  return CopyOn(device_dst, host_src, bytes);
}

absl::Status HostDevice::CopyOut(void* host_dst, const void* device_src, size_t bytes) {
  return CopyOn(host_dst, device_src, bytes);
}

absl::Status HostDevice::CopyOn(void* device_dst, const void* device_src, size_t bytes) {
  if (bytes != 0) memcpy(device_dst, device_src, bytes);
  return absl::OkStatus();
}

absl::Status HostDevice::Fill(void* device_dst, uint8_t byte, size_t bytes) {
  if (bytes != 0) memset(device_dst, byte, bytes);
  return absl::OkStatus();
}

}  // namespace rill
