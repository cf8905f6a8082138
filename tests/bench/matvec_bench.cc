// One token through a matrix: bound by the bytes of the weights.
#include "kernels/ops/matvec.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

void BM_Matvec(benchmark::State& state, WeightFormat format, int64_t rows, int64_t cols) {
  const std::vector<MatrixView> matrices = RotatingMatrices(format, rows, cols);
  const TensorView x = Tensor({1, cols}), y = Tensor({1, rows});
  size_t i = 0;
  for (auto _ : state) {
    const Projection projection = {matrices[i++ % matrices.size()], y};
    if (!Ok(state, BenchDevice().ops().matvec(BenchDevice(),
                                              {x, absl::MakeConstSpan(&projection, 1), false})))
      return;
  }
  Report(state, static_cast<double>(MatrixBytes(format, rows, cols)),
         static_cast<double>(rows * cols));
  for (const MatrixView& matrix : matrices) {
    BenchDevice().Free(const_cast<void*>(matrix.values), MatrixBytes(format, rows, cols));
  }
}

#define RILL_MATVEC(format, rows, cols)                                                  \
  BENCHMARK_CAPTURE(BM_Matvec, format / rows##x##cols, WeightFormat::format, rows, cols) \
      ->UseRealTime()                                                                    \
      ->Unit(benchmark::kMicrosecond)
RILL_MATVEC(kBf16, 2304, 4096);
RILL_MATVEC(kQ8, 2304, 4096);
RILL_MATVEC(kQ4, 2304, 4096);
RILL_MATVEC(kBf16, 4096, 2304);
RILL_MATVEC(kQ8, 4096, 2304);
RILL_MATVEC(kQ4, 4096, 2304);
RILL_MATVEC(kQ8, 163840, 2304);
RILL_MATVEC(kQ4, 163840, 2304);

}  // namespace
}  // namespace rill::bench
