#include "model/weights/weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

absl::Status Missing(std::string_view name) {
  return absl::NotFoundError(absl::StrCat("the model has no tensor ", AbslView(name)));
}

absl::Status WrongShape(const TensorSpec& spec, int64_t rows, int64_t cols) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", spec.name, " is ", spec.rows, " x ",
                                                 spec.cols, ", expected ", rows, " x ", cols));
}

absl::Status WrongRole(const TensorSpec& spec, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", spec.name, " has role ",
                                                 AbslView(Name(spec.role)), ", expected ",
                                                 AbslView(expected)));
}

}  // namespace

const Weights::Entry* Weights::Find(std::string_view name) const {
  const auto it = entries_.find(AbslView(name));
  return it == entries_.end() ? nullptr : &it->second;
}

bool Weights::Has(std::string_view name) const { return Find(name) != nullptr; }

absl::StatusOr<MatrixView> Weights::Matrix(std::string_view name, int64_t rows,
                                           int64_t cols) const {
  const Entry* entry = Find(name);
  if (entry == nullptr) return Missing(name);
  const TensorSpec& spec = entry->spec;
  if (spec.role == Role::kExpert) return WrongRole(spec, "a matrix");
  if (spec.rows != rows || spec.cols != cols) return WrongShape(spec, rows, cols);
  return BindMatrix(spec.format, rows, cols, entry->data);
}

absl::StatusOr<TensorView> Weights::Vector(std::string_view name, int64_t n) const {
  const Entry* entry = Find(name);
  if (entry == nullptr) return Missing(name);
  const TensorSpec& spec = entry->spec;
  if (spec.role != Role::kVector) return WrongRole(spec, Name(Role::kVector));
  if (spec.rows * spec.cols != n) return WrongShape(spec, 1, n);
  return F32View(static_cast<float*>(const_cast<void*>(entry->data)), n);
}

absl::StatusOr<ExpertsView> Weights::Experts(std::string_view prefix, int n, int64_t hidden,
                                             int64_t width) const {
  const auto records = records_.find(AbslView(prefix));
  if (records == records_.end()) return Missing(absl::StrCat(AbslView(prefix), ".*"));
  for (int e = 0; e < n; ++e) {
    const std::string name = absl::StrCat(AbslView(prefix), ".", e);
    const Entry* entry = Find(name);
    if (entry == nullptr) return Missing(name);
    if (entry->spec.rows != width || entry->spec.cols != hidden)
      return WrongShape(entry->spec, width, hidden);
  }
  const Entry* first = Find(absl::StrCat(AbslView(prefix), ".0"));
  return ExpertsView{first->spec.format, n, hidden, width, records->second};
}

}  // namespace rill
