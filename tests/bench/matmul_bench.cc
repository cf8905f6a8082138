// T tokens through a matrix: bound by bytes for few tokens, by multiply-adds for many.
#include "kernels/ops/matmul.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

void BM_Matmul(benchmark::State& state, WeightFormat format) {
  constexpr int64_t kRows = 4096, kCols = 2304;
  const int64_t T = state.range(0);
  const std::vector<MatrixView> matrices = RotatingMatrices(format, kRows, kCols);
  const TensorView x = Tensor({T, kCols}), y = Tensor({T, kRows});
  size_t i = 0;
  for (auto _ : state) {
    const Projection projection = {matrices[i++ % matrices.size()], y};
    if (!Ok(state, BenchDevice().ops().matmul(BenchDevice(),
                                              {x, absl::MakeConstSpan(&projection, 1), false})))
      return;
  }
  Report(state, static_cast<double>(MatrixBytes(format, kRows, kCols)),
         static_cast<double>(T * kRows * kCols));
  for (const MatrixView& matrix : matrices) {
    BenchDevice().Free(const_cast<void*>(matrix.values), MatrixBytes(format, kRows, kCols));
  }
}

#define RILL_MATMUL(format)                                  \
  BENCHMARK_CAPTURE(BM_Matmul, format, WeightFormat::format) \
      ->Arg(1)                                               \
      ->Arg(2)                                               \
      ->Arg(4)                                               \
      ->Arg(16)                                              \
      ->Arg(128)                                             \
      ->Arg(512)                                             \
      ->UseRealTime()                                        \
      ->Unit(benchmark::kMicrosecond)
RILL_MATMUL(kBf16);
RILL_MATMUL(kQ8);
RILL_MATMUL(kQ4);

}  // namespace
}  // namespace rill::bench
