// The KDA recurrence of one layer: a step is bound by reading and writing the state, a chunk by its
// arithmetic.
#include "kernels/ops/kda_chunk.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

constexpr int64_t kHeads = 32, kDim = 128, kState = kHeads * kDim * kDim;

struct Inputs {
  explicit Inputs(int64_t T)
      : q(Tensor({T, kHeads, kDim})),
        k(Tensor({T, kHeads, kDim})),
        v(Tensor({T, kHeads, kDim})),
        g(Tensor({T, kHeads, kDim})),
        beta(Tensor({T, kHeads})),
        out(Tensor({T, kHeads, kDim})) {
    for (int64_t i = 0; i < g.size(); ++i) g.f32()[i] -= 0.5f;  // a decay
    for (TensorView* keys : {&q, &k}) {
      for (int64_t i = 0; i < keys->size(); ++i)
        keys->f32()[i] *= 0.3f;  // about unit length: the state stays bounded
    }
  }
  TensorView q, k, v, g, beta, out;
};

void BM_KdaStep(benchmark::State& state) {
  const Inputs in(1);
  const int64_t copies = static_cast<int64_t>(kRotation / (kState * sizeof(float)));
  float* states = Floats(copies * kState);
  int64_t i = 0;
  for (auto _ : state) {
    const TensorView s = F32View(states + i++ % copies * kState, kHeads, kDim, kDim);
    const KdaStepArgs args = {0.088f, in.q, in.k, in.v, in.g, in.beta, s, in.out, {}, 0};
    if (!Ok(state, BenchDevice().ops().kda_step(BenchDevice(), args))) return;
  }
  Report(state, 2.0 * kState * sizeof(float), 3.0 * kState);
}
BENCHMARK(BM_KdaStep)->UseRealTime()->Unit(benchmark::kMicrosecond);

void BM_KdaChunk(benchmark::State& state) {
  const int64_t T = state.range(0);
  const Inputs in(T);
  const TensorView s = Tensor({kHeads, kDim, kDim});
  const TensorView workspace = Workspace(KdaChunkWorkspaceBytes(T, kHeads, kDim, kDim));
  for (auto _ : state) {
    const KdaChunkArgs args = {0.088f, in.q,   in.k, in.v, in.g, in.beta,
                               s,      in.out, {},   {},   0,    workspace};
    if (!Ok(state, BenchDevice().ops().kda_chunk(BenchDevice(), args))) return;
  }
  Report(state, 0, 3.0 * kState * static_cast<double>(T));
}
BENCHMARK(BM_KdaChunk)->Arg(16)->Arg(128)->Arg(512)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace rill::bench
