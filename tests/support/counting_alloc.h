// tests/support/counting_alloc.h — counts heap allocations, to prove that the token path makes
// none.
//
// Linking tests/support replaces operator new for the executable; memory still comes from malloc.
#pragma once

#include <cstdint>

namespace rill::test {

// Calls of operator new so far, on all threads.
uint64_t AllocationCount();

}  // namespace rill::test
