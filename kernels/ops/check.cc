#include "kernels/ops/check.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_join.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

absl::string_view View(std::string_view s) { return {s.data(), s.size()}; }

template <typename... Parts>
absl::Status Invalid(absl::string_view field, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", parts...));
}

std::string ShapeText(const int64_t* dims, int rank) {
  return absl::StrCat("[", absl::StrJoin(absl::MakeConstSpan(dims, rank), ", "), "]");
}

bool IsAligned(const void* data, uint64_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

bool FitsInMemory(const TensorView& view) {
  uint64_t bytes = SizeOf(view.dtype);
  for (int i = 0; i < view.rank; ++i) {
    const auto product = CheckedMul(bytes, static_cast<uint64_t>(view.dim[i]));
    if (!product) return false;
    bytes = *product;
  }
  return bytes <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

bool Overlap(const TensorView& a, const TensorView& b) {
  if (a.empty() || b.empty()) return false;
  const uintptr_t a_begin = reinterpret_cast<uintptr_t>(a.data),
                  b_begin = reinterpret_cast<uintptr_t>(b.data);
  return a_begin < b_begin + b.bytes() && b_begin < a_begin + a.bytes();
}

absl::Status OverlapError(absl::string_view a_field, const TensorView& a, absl::string_view b_field,
                          const TensorView& b) {
  return Invalid(a_field, "its ", a.bytes(), " bytes overlap the ", b.bytes(), " bytes of ",
                 b_field);
}

}  // namespace

absl::Status CheckRank(absl::string_view field, const TensorView& view, DType dtype, int rank) {
  if (view.data == nullptr) return Invalid(field, "absent");
  if (view.dtype != dtype)
    return Invalid(field, "type ", View(Name(view.dtype)), ", expected ", View(Name(dtype)));
  if (view.rank != rank) return Invalid(field, "rank ", view.rank, ", expected ", rank);
  for (int i = 0; i < rank; ++i) {
    if (view.dim[i] < 1)
      return Invalid(field, "dimension ", i, " is ", view.dim[i], ", expected at least 1");
  }
  if (!FitsInMemory(view))
    return Invalid(field, "shape ", ShapeText(view.dim, rank), " passes 2^63 bytes");
  if (!IsAligned(view.data, SizeOf(dtype)))
    return Invalid(field, "address is no multiple of ", SizeOf(dtype));
  return absl::OkStatus();
}

absl::Status CheckShape(absl::string_view field, const TensorView& view, DType dtype,
                        std::initializer_list<int64_t> dims) {
  const int rank = static_cast<int>(dims.size());
  RILL_RETURN_IF_ERROR(CheckRank(field, view, dtype, rank));
  for (int i = 0; i < rank; ++i) {
    if (view.dim[i] != dims.begin()[i]) {
      return Invalid(field, "shape ", ShapeText(view.dim, rank), ", expected ",
                     ShapeText(dims.begin(), rank));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckF32(absl::string_view field, const TensorView& view,
                      std::initializer_list<int64_t> dims) {
  return CheckShape(field, view, DType::kF32, dims);
}

absl::Status CheckWorkspace(absl::string_view field, const TensorView& view, uint64_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(CheckRank(field, view, DType::kU8, 1));
  if (static_cast<uint64_t>(view.dim[0]) < bytes) {
    return Invalid(field, view.dim[0], " bytes, expected at least ", bytes);
  }
  if (!IsAligned(view.data, 64)) return Invalid(field, "address is no multiple of 64");
  return absl::OkStatus();
}

absl::Status CheckMatrix(absl::string_view field, const MatrixView& matrix, int64_t rows,
                         int64_t cols) {
  if (matrix.values == nullptr) return Invalid(field, "absent");
  if (matrix.format > WeightFormat::kQ4)
    return Invalid(field, "unknown format ", static_cast<int>(matrix.format));
  if (matrix.rows < 1 || (rows != 0 && matrix.rows != rows)) {
    return Invalid(field, matrix.rows, " rows, expected ", rows == 0 ? "at least " : "",
                   rows == 0 ? 1 : rows);
  }
  if (matrix.cols < 1 || (cols != 0 && matrix.cols != cols)) {
    return Invalid(field, matrix.cols, " columns, expected ", cols == 0 ? "at least " : "",
                   cols == 0 ? 1 : cols);
  }
  if (IsQuantized(matrix.format) != (matrix.scales != nullptr)) {
    return Invalid(field, "format ", View(Name(matrix.format)),
                   matrix.scales == nullptr ? " without scales" : " with scales");
  }
  const uint64_t alignment = matrix.format == WeightFormat::kF32    ? 4
                             : matrix.format == WeightFormat::kBf16 ? 2
                                                                    : 1;
  if (!IsAligned(matrix.values, alignment))
    return Invalid(field, "values address is no multiple of ", alignment);
  if (!IsAligned(matrix.scales, 2)) return Invalid(field, "scales address is no multiple of 2");
  return absl::OkStatus();
}

absl::Status CheckCache(absl::string_view field, const MlaCacheView& cache, int64_t latent,
                        int64_t rope) {
  if (cache.pages == nullptr) return Invalid(field, "page table absent");
  if (cache.dtype != DType::kF32 && cache.dtype != DType::kBf16) {
    return Invalid(field, "type ", View(Name(cache.dtype)), ", expected f32 or bf16");
  }
  if (cache.latent != latent)
    return Invalid(field, "latent is ", cache.latent, ", expected ", latent);
  if (cache.rope != rope) return Invalid(field, "rope is ", cache.rope, ", expected ", rope);
  if (cache.layer_offset % SizeOf(cache.dtype) != 0) {
    return Invalid(field, "layer_offset ", cache.layer_offset, " is no multiple of ",
                   SizeOf(cache.dtype));
  }
  return absl::OkStatus();
}

absl::Status CheckExports(absl::string_view field, absl::Span<const StateExport> exports,
                          int64_t n_tokens) {
  int64_t previous = 0;
  for (size_t i = 0; i < exports.size(); ++i) {
    const int64_t after = exports[i].after;
    if (after <= previous)
      return Invalid(field, "entry ", i, " is after ", after, ", expected more than ", previous);
    if (after > n_tokens)
      return Invalid(field, "entry ", i, " is after ", after, ", expected at most ", n_tokens);
    if (exports[i].state == nullptr) return Invalid(field, "entry ", i, " has no target");
    previous = after;
  }
  return absl::OkStatus();
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t lowest, int64_t highest) {
  if (value < lowest) return Invalid(field, value, ", expected at least ", lowest);
  if (value > highest) return Invalid(field, value, ", expected at most ", highest);
  return absl::OkStatus();
}

absl::Status CheckFinite(absl::string_view field, float value) {
  if (!std::isfinite(value)) return Invalid(field, value, ", expected a finite number");
  return absl::OkStatus();
}

absl::Status CheckPositive(absl::string_view field, float value) {
  if (!(std::isfinite(value) && value > 0))
    return Invalid(field, value, ", expected a finite number above 0");
  return absl::OkStatus();
}

absl::Status CheckDisjoint(absl::string_view a_field, const TensorView& a,
                           absl::string_view b_field, const TensorView& b) {
  return Overlap(a, b) ? OverlapError(a_field, a, b_field, b) : absl::OkStatus();
}

absl::Status CheckSameOrDisjoint(absl::string_view a_field, const TensorView& a,
                                 absl::string_view b_field, const TensorView& b) {
  return a.data != b.data && Overlap(a, b) ? OverlapError(a_field, a, b_field, b)
                                           : absl::OkStatus();
}

}  // namespace rill
