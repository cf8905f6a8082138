// tests/bench/bench_fma.h — independent multiply-adds on registers: what the arithmetic units can
// do at most.
#pragma once

#include <cstdint>

namespace rill::bench {

// Does `rounds` rounds in the instruction set the cpu device would use; returns how many
// multiply-adds that was.
double BusyFmas(int64_t rounds);

}  // namespace rill::bench
