// kernels/ops/quantize.h — float32 rows to the block formats of matrix.h and back. Host code, pure functions.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/ops/matrix.h"

namespace rill {

// Encodes rows [0, n_rows) of `source` (float32 [n_rows, cols]) into a values plane and a scales plane that start at
// those rows. q8: scale = absmax / 127. q4: the scale is searched for the least squared error over the group, trying
// both signs (so that -8 can stand for the largest magnitude), then refined by least squares; a zero group has scale 0.
// bf16 rounds to nearest even. `scales` may be null where the format has none. Inputs must be finite.
void QuantizeRows(WeightFormat format, const float* source, int64_t n_rows, int64_t cols, void* values, void* scales);

// The inverse, exact in float32: row `row` of the matrix as `cols` floats.
void DequantizeRow(const MatrixView& matrix, int64_t row, float* out);

// What a format costs in accuracy: sums that can be added over rows, then read as a relative RMS.
struct QuantError {
  double squared_error = 0;
  double squared_value = 0;
  double RelativeRms() const;
  void Add(absl::Span<const float> exact, absl::Span<const float> coded);
};

}  // namespace rill
