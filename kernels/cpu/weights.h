// kernels/cpu/weights.h — matrices as the bodies take them.
#pragma once

#include "kernels/cpu/isa.h"

namespace rill::cpu {

inline Weights MakeWeights(const MatrixView& matrix) {
  return {matrix.format,
          matrix.cols,
          GroupsPerRow(matrix.cols),
          static_cast<int64_t>(RowBytes(matrix.format, matrix.cols)),
          static_cast<const uint8_t*>(matrix.values),
          static_cast<const uint16_t*>(matrix.scales)};
}

// Rows of a matrix that make a part worth a thread's while, in whole register tiles.
inline int64_t RowGrain(const MatrixView& matrix) {
  constexpr int64_t kBytes = 16 * 1024, kTile = 8;
  const int64_t rows = kBytes / static_cast<int64_t>(RowBytes(matrix.format, matrix.cols));
  return rows < kTile ? kTile : rows / kTile * kTile;
}

}  // namespace rill::cpu
