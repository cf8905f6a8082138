// kernels/ops/check.h — the sentences every operator's Check() is made of.
//
// Each returns InvalidArgument with the field's name ("kda_step.q"), what it is and what was
// expected. None reads the memory a view points to (it may be a GPU's), and none allocates unless
// it fails: Check() runs on the token path.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"
#include "kernels/ops/mla_cache.h"
#include "kernels/ops/state_export.h"

namespace rill {

// Present, of this type, aligned to its elements, every dimension at least 1; `rank` dimensions of
// any size.
absl::Status CheckRank(absl::string_view field, const TensorView& view, DType dtype, int rank);

// The same with these dimensions.
absl::Status CheckShape(absl::string_view field, const TensorView& view, DType dtype,
                        std::initializer_list<int64_t> dims);

absl::Status CheckF32(absl::string_view field, const TensorView& view,
                      std::initializer_list<int64_t> dims);

// u8, at least `bytes` long and on a 64-byte boundary. Absent is fine when bytes is 0.
absl::Status CheckWorkspace(absl::string_view field, const TensorView& view, uint64_t bytes);

// Values present, scales present exactly where the format has them; rows x cols as given, 0 for
// any.
absl::Status CheckMatrix(absl::string_view field, const MatrixView& matrix, int64_t rows,
                         int64_t cols);

// f32 or bf16, sizes positive, page table present. The pages themselves are not looked at.
absl::Status CheckCache(absl::string_view field, const MlaCacheView& cache, int64_t latent,
                        int64_t rope);

// Strictly ascending within [1, n_tokens], every target present.
absl::Status CheckExports(absl::string_view field, absl::Span<const StateExport> exports,
                          int64_t n_tokens);

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t lowest, int64_t highest);
absl::Status CheckFinite(absl::string_view field, float value);
absl::Status CheckPositive(absl::string_view field, float value);  // finite and > 0

// No byte in common.
absl::Status CheckDisjoint(absl::string_view a_field, const TensorView& a,
                           absl::string_view b_field, const TensorView& b);

// No byte in common, or the same first byte: an operator that reads each element before it writes
// it.
absl::Status CheckSameOrDisjoint(absl::string_view a_field, const TensorView& a,
                                 absl::string_view b_field, const TensorView& b);

}  // namespace rill
