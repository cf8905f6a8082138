// tests/fuzz/fuzz.h — what the targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>

extern "C" {
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Given by libFuzzer, or by replay_main.cc: changes the bytes a little.
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
// A target's own, which repairs checksums after that, so that the checks behind them are reached.
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed);
}

namespace rill::fuzz {

// What must hold of every input; a fuzzer knows a failure by the end of the process.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  __builtin_trap();
}

}  // namespace rill::fuzz
