// Attention against the latent cache. 32 heads share every row: bound by multiply-adds, not by
// bytes.
#include "kernels/ops/mla_prefill.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

constexpr MlaShape kShape = {32, 128, 64, 128, 512};
constexpr int64_t kWidth = 512 + 64;
constexpr double kFmasPerRow = 32.0 * (kWidth + 512);       // of a query and a cached row
constexpr double kFmasPerQuery = 32.0 * (128 + 128) * 512;  // absorbing and expanding

struct Case {
  explicit Case(int64_t T, int64_t length)
      : q(Tensor({T, 32, 192})),
        out(Tensor({T, 32, 128})),
        workspace(Workspace(MlaWorkspaceBytes(kShape, T, length))) {
    void* bytes = Floats(MatrixBytes(WeightFormat::kQ8, 32 * 256, 512) / 4 + 16);
    FillMatrix(WeightFormat::kQ8, 32 * 256, 512, bytes);
    kv_b = BindMatrix(WeightFormat::kQ8, 32 * 256, 512, bytes);
    Bf16* rows = reinterpret_cast<Bf16*>(Floats((length + 128) * kWidth / 2));
    for (int64_t i = 0; i < length * kWidth; ++i) rows[i] = ToBf16(q.f32()[i % q.size()]);
    for (int64_t t = 0; t < length; t += kPageTokens) pages.push_back(rows + t * kWidth);
    cache = {DType::kBf16, 512, 64, pages.data(), 0};
  }
  TensorView q, out, workspace;
  MatrixView kv_b;
  std::vector<void*> pages;
  MlaCacheView cache;
};

void BM_MlaDecode(benchmark::State& state) {
  const int64_t length = state.range(0);
  const Case c(1, length);
  for (auto _ : state) {
    const MlaDecodeArgs args = {kShape, 0.072f, c.q, c.kv_b, c.cache, length, c.out, c.workspace};
    if (!Ok(state, BenchDevice().ops().mla_decode(BenchDevice(), args))) return;
  }
  Report(state,
         static_cast<double>(length) * kWidth * 2 +
             static_cast<double>(MatrixBytes(WeightFormat::kQ8, 32 * 256, 512)),
         kFmasPerRow * static_cast<double>(length) + kFmasPerQuery);
}
BENCHMARK(BM_MlaDecode)
    ->Arg(128)
    ->Arg(512)
    ->Arg(4096)
    ->Arg(32768)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void BM_MlaPrefill(benchmark::State& state) {
  const int64_t T = state.range(0), position = state.range(1);
  const Case c(T, position + T);
  for (auto _ : state) {
    const MlaPrefillArgs args = {kShape,  0.072f,   c.q,   c.kv_b,
                                 c.cache, position, c.out, c.workspace};
    if (!Ok(state, BenchDevice().ops().mla_prefill(BenchDevice(), args))) return;
  }
  const double rows =
      static_cast<double>(T) * (static_cast<double>(position) + (static_cast<double>(T) + 1) / 2);
  Report(state, 0, kFmasPerRow * rows + kFmasPerQuery * static_cast<double>(T));
}
BENCHMARK(BM_MlaPrefill)
    ->Args({128, 0})
    ->Args({512, 0})
    ->Args({128, 4096})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace rill::bench
