#include "kernels/ops/matmul.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/cpu/project.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/weights.h"

namespace rill::cpu {
namespace {

void ProjectRows(const Isa& isa, const TensorView& x, const Projection& projection, int64_t begin,
                 int64_t end, bool accumulate, float* scratch) {
  const Weights weights = MakeWeights(projection.weight);
  const int64_t T = x.dim[0], K = x.dim[1], N = projection.weight.rows;
  if (T == 1) {
    isa.matvec(weights, begin, end, x.f32(), projection.out.f32(), accumulate);
  } else {
    isa.matmul(weights, begin, end, {x.f32(), K, T}, projection.out.f32(), N, accumulate, scratch);
  }
}

}  // namespace

void Project(CpuDevice& device, const TensorView& x, absl::Span<const Projection> projections,
             bool accumulate) {
  int64_t n_rows = 0;
  for (const Projection& projection : projections) n_rows += projection.weight.rows;
  const int64_t grain = RowGrain(projections[0].weight);
  device.pool()->For(n_rows, grain, [&](int64_t begin, int64_t end, int worker) {
    int64_t first = 0;  // of this projection among all rows
    for (const Projection& projection : projections) {
      const int64_t N = projection.weight.rows;
      const int64_t from = std::max<int64_t>(begin - first, 0), to = std::min(end - first, N);
      if (from < to) {
        ProjectRows(device.isa(), x, projection, from, to, accumulate, device.scratch(worker));
      }
      first += N;
    }
  });
}

absl::Status Matvec(Device& device, const MatvecArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  Project(CpuDevice::From(device), args.x, args.projections, args.accumulate);
  return absl::OkStatus();
}

absl::Status Matmul(Device& device, const MatmulArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  Project(CpuDevice::From(device), args.x, args.projections, args.accumulate);
  return absl::OkStatus();
}

}  // namespace rill::cpu
