// kernels/ref/scalar.h — the scalar functions and sums the operators share. Sums run in ascending
// order in float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/ops/decode_group.h"

namespace rill::ref {

inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline float Silu(float x) { return x / (1.0f + std::exp(-x)); }

inline float SumOfSquares(const float* x, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

inline float RootMeanSquare(const float* x, int64_t n, float eps) {
  return std::sqrt(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// sum_k x[k] * W[row, k], k ascending across the groups of the row.
inline float RowDot(const MatrixView& matrix, int64_t row, const float* x) {
  float sum = 0, weights[kGroup];
  for (int64_t group = 0; group < GroupsPerRow(matrix.cols); ++group) {
    const int n = DecodeGroup(matrix, row, group, weights);
    for (int i = 0; i < n; ++i) sum += x[group * kGroup + i] * weights[i];
  }
  return sum;
}

}  // namespace rill::ref
