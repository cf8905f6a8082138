// kernels/ops/check_projections.h — what matvec and matmul check alike.
#pragma once

#include "kernels/base/status.h"
#include "kernels/ops/check.h"
#include "kernels/ops/matvec.h"

namespace rill {

struct ProjectionFields {  // the names to report, e.g. "matvec.x"
  absl::string_view x, count, weight, out;
};

inline absl::Status CheckProjections(const ProjectionFields& names, const TensorView& x,
                                     absl::Span<const Projection> projections) {
  RILL_RETURN_IF_ERROR(CheckRank(names.x, x, DType::kF32, 2));
  RILL_RETURN_IF_ERROR(CheckRange(names.count, projections.size(), 1, 16));
  for (size_t i = 0; i < projections.size(); ++i) {
    const Projection& projection = projections[i];
    RILL_RETURN_IF_ERROR(CheckMatrix(names.weight, projection.weight, 0, x.dim[1]));
    RILL_RETURN_IF_ERROR(CheckF32(names.out, projection.out, {x.dim[0], projection.weight.rows}));
    RILL_RETURN_IF_ERROR(CheckDisjoint(names.out, projection.out, names.x, x));
    for (size_t j = 0; j < i; ++j) {
      RILL_RETURN_IF_ERROR(CheckDisjoint(names.out, projection.out, names.out, projections[j].out));
    }
  }
  return absl::OkStatus();
}

}  // namespace rill
