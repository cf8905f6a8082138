// kernels/ops/decode_group.h — 32 weights of a matrix as float32, exactly. The readable meaning of
// matrix.h.
#pragma once

#include <cstdint>

#include "kernels/ops/matrix.h"

namespace rill {

// Inputs [32 * group, 32 * group + 32) of row `row`; returns how many of them the matrix has (fewer
// at a row's end).
inline int DecodeGroup(const MatrixView& matrix, int64_t row, int64_t group, float out[kGroup]) {
  const int64_t begin = group * kGroup;
  const int64_t left = matrix.cols - begin;
  const int n = left < kGroup ? static_cast<int>(left) : kGroup;
  const char* values =
      static_cast<const char*>(matrix.values) + RowBytes(matrix.format, matrix.cols) * row;
  float scale = 0;
  if (IsQuantized(matrix.format)) {
    scale =
        ToFloat(static_cast<const F16*>(matrix.scales)[row * GroupsPerRow(matrix.cols) + group]);
  }
  switch (matrix.format) {
    case WeightFormat::kF32:
      for (int i = 0; i < n; ++i) out[i] = reinterpret_cast<const float*>(values)[begin + i];
      break;
    case WeightFormat::kBf16:
      for (int i = 0; i < n; ++i)
        out[i] = ToFloat(reinterpret_cast<const Bf16*>(values)[begin + i]);
      break;
    case WeightFormat::kQ8:
      for (int i = 0; i < n; ++i)
        out[i] = static_cast<float>(reinterpret_cast<const int8_t*>(values)[begin + i]) * scale;
      break;
    case WeightFormat::kQ4: {
      const uint8_t* codes = reinterpret_cast<const uint8_t*>(values) + group * (kGroup / 2);
      for (int i = 0; i < n; ++i) {
        const int nibble = i < 16 ? codes[i] & 15 : codes[i - 16] >> 4;
        out[i] = static_cast<float>(nibble - 8) * scale;
      }
      break;
    }
  }
  return n;
}

}  // namespace rill
