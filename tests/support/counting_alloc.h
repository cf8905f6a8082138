// tests/support/counting_alloc.h — counts heap allocations, to prove that the token path makes
// none, and makes one of them fail.
//
// Linking tests/support replaces operator new for the executable; memory still comes from malloc.
#pragma once

#include <cstdint>

namespace rill::test {

// Calls of operator new so far, on all threads.
uint64_t AllocationCount();

// While it lives, the n-th allocation (from 0) that any thread makes fails: std::bad_alloc, or null
// from the nothrow forms. `forever`: and all later ones. One at a time.
class FailingAllocation {
 public:
  FailingAllocation(uint64_t n, bool forever);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;

  bool happened() const;  // the n-th was asked for
};

}  // namespace rill::test
