#include "tests/support/counting_alloc.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace rill::test {
namespace {

std::atomic<uint64_t> n_allocations{0};

constexpr uint64_t kNone = ~uint64_t{0};
std::atomic<uint64_t> failing_from{kNone};  // numbers as n_allocations counts them
std::atomic<bool> failing_forever{false};

bool MustFail(uint64_t number) {
  const uint64_t from = failing_from.load(std::memory_order_relaxed);
  return number == from || (number > from && failing_forever.load(std::memory_order_relaxed));
}

void* CountedAllocate(size_t bytes, size_t alignment) {
  if (MustFail(n_allocations.fetch_add(1, std::memory_order_relaxed))) return nullptr;
  if (bytes == 0) bytes = 1;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes);
  void* data = nullptr;
  return posix_memalign(&data, alignment, bytes) == 0 ? data : nullptr;
}

void* CountedAllocateOrThrow(size_t bytes, size_t alignment) {
  void* data = CountedAllocate(bytes, alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

uint64_t AllocationCount() { return n_allocations.load(std::memory_order_relaxed); }

FailingAllocation::FailingAllocation(uint64_t n, bool forever) {
  failing_forever = forever;
  failing_from = AllocationCount() + n;
}

FailingAllocation::~FailingAllocation() { failing_from = kNone; }

bool FailingAllocation::happened() const { return AllocationCount() > failing_from; }

}  // namespace rill::test

void* operator new(size_t bytes) { return rill::test::CountedAllocateOrThrow(bytes, 1); }
void* operator new[](size_t bytes) { return rill::test::CountedAllocateOrThrow(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t a) {
  return rill::test::CountedAllocateOrThrow(bytes, static_cast<size_t>(a));
}
void* operator new[](size_t bytes, std::align_val_t a) {
  return rill::test::CountedAllocateOrThrow(bytes, static_cast<size_t>(a));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return rill::test::CountedAllocate(bytes, 1);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return rill::test::CountedAllocate(bytes, 1);
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, size_t) noexcept { std::free(data); }
void operator delete[](void* data, size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { std::free(data); }
