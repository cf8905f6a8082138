// What surrounds the matrix products of a decoded token: latency, not bandwidth.
#include "kernels/base/thread_pool.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/router.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/short_conv.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

void BM_Dispatch(benchmark::State& state) {
  ThreadPool& pool = *BenchDevice().pool();
  for (auto _ : state) pool.For(pool.size(), 1, [](int64_t, int64_t, int) {});
}
BENCHMARK(BM_Dispatch)->UseRealTime()->Unit(benchmark::kMicrosecond);

template <typename Args>
void Loop(benchmark::State& state, absl::Status (*OpTable::*op)(Device&, const Args&),
          const Args& args) {
  for (auto _ : state) {
    if (!Ok(state, (BenchDevice().ops().*op)(BenchDevice(), args))) return;
  }
}

void BM_RmsNorm(benchmark::State& state) {
  const int64_t T = state.range(0);
  Loop<RmsNormArgs>(state, &OpTable::rms_norm,
                    {1e-5f, Tensor({T, 2304}), Tensor({2304}), Tensor({T, 2304})});
}
void BM_L2Norm(benchmark::State& state) {
  const int64_t T = state.range(0);
  Loop<L2NormArgs>(state, &OpTable::l2_norm, {1e-6f, Tensor({T, 32, 128}), Tensor({T, 32, 128})});
}
void BM_GatedRmsNorm(benchmark::State& state) {
  const int64_t T = state.range(0);
  Loop<GatedRmsNormArgs>(
      state, &OpTable::gated_rms_norm,
      {1e-5f, Tensor({T, 32, 128}), Tensor({T, 32, 128}), Tensor({128}), Tensor({T, 32, 128})});
}
void BM_KdaGate(benchmark::State& state) {
  const int64_t T = state.range(0);
  Loop<KdaGateArgs>(state, &OpTable::kda_gate,
                    {Tensor({T, 32, 128}), Tensor({32}), Tensor({32, 128}), Tensor({T, 32}),
                     Tensor({T, 32, 128}), Tensor({T, 32})});
}
void BM_ShortConv(benchmark::State& state) {
  const int64_t T = state.range(0);
  Loop<ShortConvArgs>(
      state, &OpTable::short_conv,
      {Tensor({T, 4096}), Tensor({4096, 4}), Tensor({4096, 3}), Tensor({T, 4096}), {}, {}, 0});
}
void BM_Router(benchmark::State& state) {
  const int64_t T = state.range(0), E = 256, D = 2304;
  RouterArgs args{};
  args.top_k = 8;
  args.n_groups = args.topk_groups = 1;
  args.renormalize = true;
  args.scaling = 2.446f;
  args.x = Tensor({T, D});
  args.weight = RotatingMatrices(WeightFormat::kBf16, E, D)[0];
  args.bias = Tensor({E});
  args.scores = Tensor({T, E});
  args.ids = Tensor({T, 8});
  args.ids.dtype = DType::kI32;
  args.weights = Tensor({T, 8});
  Loop<RouterArgs>(state, &OpTable::router, args);
}
#define RILL_SMALL(name) \
  BENCHMARK(name)->Arg(1)->Arg(128)->UseRealTime()->Unit(benchmark::kMicrosecond)
RILL_SMALL(BM_RmsNorm);
RILL_SMALL(BM_L2Norm);
RILL_SMALL(BM_GatedRmsNorm);
RILL_SMALL(BM_KdaGate);
RILL_SMALL(BM_ShortConv);
RILL_SMALL(BM_Router);

void BM_Sample(benchmark::State& state, float temperature, float top_p) {
  constexpr int64_t kVocab = 163840;
  const TensorView logits = Tensor({kVocab});
  for (int64_t i = 0; i < kVocab; ++i) logits.f32()[i] *= 20;
  for (int64_t i = 0; i < 20; ++i)
    logits.f32()[i * 7001] += 12 - static_cast<float>(i) / 2;  // a few likely tokens
  int32_t token;
  float logprob;
  SampleArgs args;
  args.temperature = temperature;
  args.top_p = top_p;
  args.logits = logits;
  args.workspace = Workspace(SampleWorkspaceBytes(kVocab));
  args.token = &token;
  args.logprob = &logprob;
  for (auto _ : state) {
    ++args.position;
    if (!Ok(state, BenchDevice().ops().sample(BenchDevice(), args))) return;
  }
}
BENCHMARK_CAPTURE(BM_Sample, greedy, 0.0f, 1.0f)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, top_p, 0.6f, 0.95f)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, everything, 1.0f, 1.0f)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace rill::bench
