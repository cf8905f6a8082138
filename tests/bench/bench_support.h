// tests/bench/bench_support.h — a device, its ceilings, memory that no cache holds, and the
// counters of a benchmark.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "kernels/device/device.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"

namespace rill::bench {

inline constexpr size_t kRotation = size_t{1} << 30;  // bytes that working sets rotate through

Device& BenchDevice();  // opened once; ends the program if it cannot be

// Measured once per process with the device's threads.
double ReadCeiling();  // bytes per second of a streaming read
double FmaCeiling();   // multiply-adds per second on registers, in the device's instruction set

// Memory of the device for the rest of the process, filled with small values (bf16 and float32
// alike).
float* Floats(int64_t n);
TensorView Tensor(std::initializer_list<int64_t> dims);
TensorView Workspace(uint64_t bytes);

// As many copies of a matrix as kRotation holds, at least two.
std::vector<MatrixView> RotatingMatrices(WeightFormat format, int64_t rows, int64_t cols);

// Bytes of random weights in the layout of matrix.h: codes of any value, scales near 1/100.
void FillMatrix(WeightFormat format, int64_t rows, int64_t cols, void* to);

// Reports what one call had to move and to compute, against the ceilings. 0 leaves a pair of
// counters out.
void Report(benchmark::State& state, double bytes_per_call, double fmas_per_call);

// Ends the benchmark with the status's message unless it is ok.
bool Ok(benchmark::State& state, const absl::Status& status);

}  // namespace rill::bench
