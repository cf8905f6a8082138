// The routed experts of one layer, 8 of 64 for each token: bound by bytes until every expert has
// many tokens.
#include <algorithm>
#include <cstring>

#include "kernels/ops/experts.h"
#include "tests/bench/bench_support.h"

namespace rill::bench {
namespace {

constexpr int64_t kHidden = 2304, kWidth = 1024, kExperts = 64, kTopK = 8;

// Eight different experts a token, another eight for the next.
TensorView Choices(int64_t T, int64_t call) {
  TensorView ids = Tensor({T, kTopK});
  ids.dtype = DType::kI32;
  for (int64_t i = 0; i < T * kTopK; ++i)
    ids.as<int32_t>()[i] = static_cast<int32_t>((call * 8 + i) * 11 % kExperts);
  return ids;
}

void BM_Experts(benchmark::State& state, WeightFormat format) {
  const int64_t T = state.range(0);
  const ExpertLayout layout = MakeExpertLayout(format, kHidden, kWidth);
  const int64_t layers =
      std::max<int64_t>(1, static_cast<int64_t>(kRotation / (layout.bytes * kExperts)));
  char* bytes = reinterpret_cast<char*>(
      Floats(static_cast<int64_t>(layout.bytes) * kExperts * layers / 4 + 64));
  std::vector<const void*> records;
  for (int64_t e = 0; e < kExperts * layers; ++e) {
    char* record = bytes + e * layout.bytes;
    if (e == 0) {
      FillMatrix(format, kWidth, kHidden, record + layout.gate);
      FillMatrix(format, kWidth, kHidden, record + layout.up);
      FillMatrix(format, kHidden, kWidth, record + layout.down);
    } else {
      memcpy(record, bytes, layout.bytes);
    }
    records.push_back(record);
  }
  const TensorView x = Tensor({T, kHidden}), out = Tensor({T, kHidden}),
                   weights = Tensor({T, kTopK});
  const TensorView workspace =
      Workspace(ExpertsWorkspaceBytes(T, kTopK, kExperts, kHidden, kWidth));
  std::vector<TensorView> choices;
  for (int64_t call = 0; call < kExperts / kTopK; ++call) choices.push_back(Choices(T, call));
  int64_t i = 0;
  for (auto _ : state) {
    const int64_t layer = i / static_cast<int64_t>(choices.size()) % layers;
    const ExpertsView experts = {format, kExperts, kHidden, kWidth,
                                 records.data() + layer * kExperts};
    const ExpertsArgs args = {x,        choices[i++ % choices.size()], weights, experts, false, out,
                              workspace};
    if (!Ok(state, BenchDevice().ops().experts(BenchDevice(), args))) return;
  }
  Report(state, static_cast<double>(layout.bytes) * std::min(T * kTopK, kExperts),
         static_cast<double>(T) * kTopK * 3 * kHidden * kWidth);
  BenchDevice().Free(bytes, layout.bytes * kExperts * layers + 256);
}

#define RILL_EXPERTS(format)                                  \
  BENCHMARK_CAPTURE(BM_Experts, format, WeightFormat::format) \
      ->Arg(1)                                                \
      ->Arg(2)                                                \
      ->Arg(16)                                               \
      ->Arg(128)                                              \
      ->Arg(512)                                              \
      ->UseRealTime()                                         \
      ->Unit(benchmark::kMicrosecond)
RILL_EXPERTS(kQ8);
RILL_EXPERTS(kQ4);

}  // namespace
}  // namespace rill::bench
