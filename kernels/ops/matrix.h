// kernels/ops/matrix.h — weight matrices: the block formats and where their bytes lie. Layout tag "row-g32-v1".
//
// A matrix W [rows = outputs, cols = inputs] is one piece of memory: a plane of values, padding to 64 bytes, a plane
// of scales. Rows follow each other; a row is ceil(cols / 32) groups of 32 inputs, the last one padded with zero codes.
//
//   f32   values float32 [rows, cols]                                  no scales, no groups
//   bf16  values bfloat16 [rows, cols]                                 no scales, no groups
//   q8    values int8 [rows, 32 * groups]        scales float16 [rows, groups]   w = code * scale, code in -127..127
//   q4    values uint8 [rows, 16 * groups]       scales float16 [rows, groups]   w = (nibble - 8) * scale
//
// q4: byte j of a group holds input j in its low nibble and input j + 16 in its high nibble, so one mask and one shift
// give two runs of 16 consecutive inputs on every SIMD width. A scale may be negative (the search may use -8).
// The planes are separate so that both are naturally aligned for vector loads on CPUs and GPUs alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/base/checked.h"
#include "kernels/base/dtype.h"

namespace rill {

enum class WeightFormat : uint8_t { kF32 = 0, kBf16 = 1, kQ8 = 2, kQ4 = 3 };

inline constexpr int kGroup = 32;                 // inputs that share a scale
inline constexpr uint64_t kPlaneAlignment = 64;   // a cache line and a zmm register
inline constexpr std::string_view kMatrixLayoutTag = "row-g32-v1";

constexpr std::string_view Name(WeightFormat f) {
  switch (f) {
    case WeightFormat::kF32: return "f32";
    case WeightFormat::kBf16: return "bf16";
    case WeightFormat::kQ8: return "q8";
    case WeightFormat::kQ4: return "q4";
  }
  return "?";
}

constexpr bool IsQuantized(WeightFormat f) { return f == WeightFormat::kQ8 || f == WeightFormat::kQ4; }

constexpr int64_t GroupsPerRow(int64_t cols) { return CeilDiv(cols, kGroup); }

// Bytes of one row of the values plane.
constexpr uint64_t RowBytes(WeightFormat f, int64_t cols) {
  switch (f) {
    case WeightFormat::kF32: return 4 * static_cast<uint64_t>(cols);
    case WeightFormat::kBf16: return 2 * static_cast<uint64_t>(cols);
    case WeightFormat::kQ8: return 32 * static_cast<uint64_t>(GroupsPerRow(cols));
    case WeightFormat::kQ4: return 16 * static_cast<uint64_t>(GroupsPerRow(cols));
  }
  return 0;
}

constexpr uint64_t ValuesBytes(WeightFormat f, int64_t rows, int64_t cols) {
  return RowBytes(f, cols) * static_cast<uint64_t>(rows);
}

constexpr uint64_t ScalesBytes(WeightFormat f, int64_t rows, int64_t cols) {
  return IsQuantized(f) ? 2 * static_cast<uint64_t>(rows) * static_cast<uint64_t>(GroupsPerRow(cols)) : 0;
}

// Offset of the scales plane from the start of the matrix; the matrix's size when there is none.
constexpr uint64_t ScalesOffset(WeightFormat f, int64_t rows, int64_t cols) {
  return AlignUp(ValuesBytes(f, rows, cols), kPlaneAlignment);
}

// Bytes of a whole matrix, a multiple of 64.
constexpr uint64_t MatrixBytes(WeightFormat f, int64_t rows, int64_t cols) {
  return AlignUp(ScalesOffset(f, rows, cols) + ScalesBytes(f, rows, cols), kPlaneAlignment);
}

// Borrows the bytes. `values` and `scales` are addresses of the device the matrix lives on.
struct MatrixView {
  WeightFormat format = WeightFormat::kF32;
  int64_t rows = 0;              // outputs
  int64_t cols = 0;              // inputs
  const void* values = nullptr;
  const void* scales = nullptr;  // null for f32 and bf16

  bool empty() const { return values == nullptr; }

  // Rows [begin, begin + n) as a matrix of their own.
  MatrixView Rows(int64_t begin, int64_t n) const {
    MatrixView v = *this;
    v.rows = n;
    v.values = static_cast<const char*>(values) + RowBytes(format, cols) * begin;
    if (scales != nullptr) v.scales = static_cast<const char*>(scales) + 2 * GroupsPerRow(cols) * begin;
    return v;
  }
};

// The matrix that starts at `base` in the layout above.
inline MatrixView BindMatrix(WeightFormat f, int64_t rows, int64_t cols, const void* base) {
  const char* bytes = static_cast<const char*>(base);
  return {f, rows, cols, bytes, IsQuantized(f) ? bytes + ScalesOffset(f, rows, cols) : nullptr};
}

// One routed expert is one record of three matrices, gate (w1) [width, hidden], up (w3) [width, hidden] and
// down (w2) [hidden, width], each as above, one after the other: one aligned read brings a whole expert.
struct ExpertLayout {
  uint64_t gate, up, down;  // offsets in the record
  uint64_t bytes;           // of the record, before the file's own alignment
};

constexpr ExpertLayout MakeExpertLayout(WeightFormat f, int64_t hidden, int64_t width) {
  const uint64_t wide = MatrixBytes(f, width, hidden);
  return {0, wide, 2 * wide, 2 * wide + MatrixBytes(f, hidden, width)};
}

// All routed experts of one layer. `record[e]` is the address of expert e's record; the array itself lies in host
// memory for host devices and in device memory for the others. Borrows everything.
struct ExpertsView {
  WeightFormat format = WeightFormat::kF32;
  int n_experts = 0;
  int64_t hidden = 0;
  int64_t width = 0;
  const void* const* record = nullptr;

  MatrixView Gate(int e) const { return At(e, MakeExpertLayout(format, hidden, width).gate, width, hidden); }
  MatrixView Up(int e) const { return At(e, MakeExpertLayout(format, hidden, width).up, width, hidden); }
  MatrixView Down(int e) const { return At(e, MakeExpertLayout(format, hidden, width).down, hidden, width); }

 private:
  MatrixView At(int e, uint64_t offset, int64_t rows, int64_t cols) const {
    return BindMatrix(format, rows, cols, static_cast<const char*>(record[e]) + offset);
  }
};

}  // namespace rill
