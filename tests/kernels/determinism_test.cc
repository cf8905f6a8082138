// Equal numerics strings promise equal bits for equal calls: whatever the number of threads, the
// instruction set, and how often the call is repeated.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <optional>

#include "kernels/ops/add.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/experts.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/kda_replay.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/mla_append.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/router.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/short_conv.h"
#include "kernels/ops/swiglu.h"
#include "tests/kernels/kda_case.h"
#include "tests/kernels/mla_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

using Results = std::vector<std::vector<float>>;

// One operator on one device with inputs that depend on the seed alone.
struct Bench {
  Device& device;
  Rig& rig;
  Random random;

  template <typename Args>
  void Run(absl::Status (*OpTable::*op)(Device&, const Args&), const Args& args) {
    absl::Status status = (device.ops().*op)(device, args);
    if (status.ok()) status = device.Synchronize();
    EXPECT_TRUE(status.ok()) << status;
  }
};

Results Elementwise(Bench b) {
  const int64_t T = 5, D = 1037, H = 3, K = 80;
  const AddArgs add = {b.rig.In(b.random.Normal(T * D), {T, D}),
                       b.rig.In(b.random.Normal(T * D), {T, D})};
  b.Run(&OpTable::add, add);
  const RmsNormArgs norm = {1e-5f, add.x, b.rig.In(b.random.Normal(D), {D}), b.rig.Out({T, D})};
  b.Run(&OpTable::rms_norm, norm);
  const SwigluArgs swiglu = {add.x, norm.out, b.rig.Out({T, D})};
  b.Run(&OpTable::swiglu, swiglu);
  const TensorView heads = b.rig.In(b.random.Normal(T * H * K), {T, H, K});
  const L2NormArgs l2 = {1e-6f, heads, b.rig.Out({T, H, K})};
  b.Run(&OpTable::l2_norm, l2);
  const GatedRmsNormArgs gated = {1e-5f, heads, l2.out, b.rig.In(b.random.Normal(K), {K}),
                                  b.rig.Out({T, H, K})};
  b.Run(&OpTable::gated_rms_norm, gated);
  const KdaGateArgs gate = {heads,
                            b.rig.In(b.random.Normal(H), {H}),
                            b.rig.In(b.random.Normal(H * K), {H, K}),
                            b.rig.In(b.random.Normal(T * H), {T, H}),
                            b.rig.Out({T, H, K}),
                            b.rig.Out({T, H})};
  b.Run(&OpTable::kda_gate, gate);
  return {b.rig.Read(add.x),     b.rig.Read(norm.out), b.rig.Read(swiglu.out), b.rig.Read(l2.out),
          b.rig.Read(gated.out), b.rig.Read(gate.g),   b.rig.Read(gate.beta)};
}

Results Convolution(Bench b) {
  const int64_t T = 70, C = 1000, W = 4, R = 16;
  ShortConvArgs args = {};
  args.x = b.rig.In(b.random.Normal(T * C), {T, C});
  args.weight = b.rig.In(b.random.Normal(C * W), {C, W});
  args.tail = b.rig.In(b.random.Normal(C * (W - 1)), {C, W - 1});
  args.out = b.rig.Out({T, C});
  args.ring = b.rig.Out({R, C});
  args.position = 3;
  const TensorView exported = b.rig.Out({C, W - 1});
  const StateExport exports[] = {{64, exported.data}};
  args.exports = exports;
  b.Run(&OpTable::short_conv, args);
  return {b.rig.Read(args.out), b.rig.Read(args.tail), b.rig.Read(args.ring), b.rig.Read(exported)};
}

Results Recurrences(Bench b) {
  const KdaCase c = MakeKdaCase(b.random, 37, 5, 48, 80, Gates::kMixed);
  const KdaTensors x = Place(b.rig, c), steps = Place(b.rig, c);
  KdaChunkArgs chunk = ChunkArgs(c, x, b.rig.Workspace(KdaChunkWorkspaceBytes(c.T, c.H, c.K, c.V)));
  chunk.ring = MakeRing(b.rig, c, 8);
  const TensorView exported = b.rig.Out({c.H, c.K, c.V});
  const StateExport exports[] = {{29, exported.data}};
  chunk.exports = exports;
  b.Run(&OpTable::kda_chunk, chunk);
  b.Run(&OpTable::kda_step, StepArgs(c, steps, 0));
  const KdaReplayArgs replay = {chunk.ring, 29, 8, exported};
  b.Run(&OpTable::kda_replay, replay);
  return {b.rig.Read(x.out),        b.rig.Read(x.state),
          b.rig.Read(chunk.ring.u), b.rig.Read(steps.out.Rows(0, 1)),
          b.rig.Read(steps.state),  b.rig.Read(exported)};
}

Results Attention(Bench b) {
  Results results;
  for (const WeightFormat format : kAllFormats) {
    const MlaCase c = MakeMlaCase(b.random, {5, 24, 8, 33, 70}, 19, 300, format, DType::kBf16, 4);
    const MlaPrefillArgs prefill = PrefillArgs(b.rig, c);
    b.Run(&OpTable::mla_prefill, prefill);
    const MlaDecodeArgs decode = DecodeArgs(b.rig, prefill, 18);
    b.Run(&OpTable::mla_decode, decode);
    const MlaCacheView cache = b.rig.Cache(DType::kBf16, 70, 8, 19);
    const TensorView kv = b.rig.In(b.random.Normal(19 * 78), {19, 78}),
                     weight = b.rig.In(b.random.Normal(70), {70});
    b.Run(&OpTable::mla_append, MlaAppendArgs{1e-6f, kv, weight, cache, 0});
    results.push_back(b.rig.Read(prefill.out));
    results.push_back(b.rig.Read(decode.out));
    results.push_back(b.rig.ReadCacheRows(cache, 19));
  }
  return results;
}

Results Projections(Bench b) {
  Results results;
  for (const WeightFormat format : kAllFormats) {
    // few tokens, a whole block of them and more; rows shorter and longer than a panel
    const int64_t T = format == WeightFormat::kBf16 ? 3 : format == WeightFormat::kQ4 ? 101 : 21;
    const int64_t K = format == WeightFormat::kQ8 ? 333 : 1000;
    const TensorView x = b.rig.In(b.random.Normal(T * K), {T, K});
    std::vector<Projection> many, one;
    for (const int64_t N : {1, 70, 200}) {
      const MatrixView weight = b.rig.Matrix(format, b.random.Normal(N * K), N, K);
      many.push_back({weight, b.rig.Out({T, N})});
      one.push_back({weight, b.rig.Out({1, N})});
    }
    b.Run(&OpTable::matmul, MatmulArgs{x, many, false});
    b.Run(&OpTable::matvec, MatvecArgs{x.Rows(2, 1), one, false});
    for (const Projection& p : many) results.push_back(b.rig.Read(p.out));
    for (const Projection& p : one) results.push_back(b.rig.Read(p.out));
    const EmbedArgs embed = {b.rig.In(std::vector<int32_t>{199, 0, 7}, {3}), one[2].weight,
                             b.rig.Out({3, K})};
    b.Run(&OpTable::embed, embed);
    results.push_back(b.rig.Read(embed.out));
  }
  return results;
}

std::vector<float> AsFloats(const std::vector<int32_t>& ints) { return {ints.begin(), ints.end()}; }

Results Mixture(Bench b) {
  const int64_t T = 13, D = 96, E = 24, width = 40;
  const int top_k = 4;
  RouterArgs router = {RouterActivation::kSigmoid, top_k, 4, 2, true, 2.446f};
  router.x = b.rig.In(b.random.Normal(T * D), {T, D});
  router.weight = b.rig.Matrix(WeightFormat::kBf16, b.random.Normal(E * D), E, D);
  router.bias = b.rig.In(b.random.Normal(E), {E});
  router.scores = b.rig.Out({T, E});
  router.ids = b.rig.Out({T, top_k}, DType::kI32);
  router.weights = b.rig.Out({T, top_k});
  b.Run(&OpTable::router, router);
  std::vector<std::vector<float>> matrices;
  for (int64_t i = 0; i < 3 * E; ++i) matrices.push_back(b.random.Normal(D * width, 0.1f));
  const ExpertsArgs experts = {router.x,
                               router.ids,
                               router.weights,
                               b.rig.Experts(WeightFormat::kQ4, matrices, D, width),
                               false,
                               b.rig.Out({T, D}),
                               b.rig.Workspace(ExpertsWorkspaceBytes(T, top_k, E, D, width))};
  b.Run(&OpTable::experts, experts);
  return {b.rig.Read(router.scores), AsFloats(b.rig.ReadInts(router.ids)),
          b.rig.Read(router.weights), b.rig.Read(experts.out)};
}

Results Sampling(Bench b) {
  constexpr int64_t kVocab = 9973;
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> workspace(SampleWorkspaceBytes(kVocab) / 64 + 1);
  SampleArgs args;
  args.logits = b.rig.In(b.random.Normal(kVocab, 2), {kVocab});
  args.workspace = MakeView(workspace.data(), DType::kU8, workspace.size() * 64);
  args.temperature = 0.9f;
  args.top_p = 0.95f;
  args.seed = b.random.Bits();
  std::vector<float> drawn;
  for (args.position = 0; args.position < static_cast<uint64_t>(Repetitions(50, 3)); ++args.position) {
    int32_t token = -1;
    float logprob = 0;
    args.token = &token;
    args.logprob = &logprob;
    b.Run(&OpTable::sample, args);
    drawn.push_back(static_cast<float>(token));
    drawn.push_back(logprob);
  }
  return {drawn};
}

struct Workload {
  const char* name;
  Results (*run)(Bench);
};
constexpr Workload kWorkloads[] = {{"elementwise", Elementwise}, {"convolution", Convolution},
                                   {"recurrences", Recurrences}, {"attention", Attention},
                                   {"projections", Projections}, {"mixture", Mixture},
                                   {"sampling", Sampling}};

Results RunOne(Device& device, const Workload& workload) {
  Rig rig(device);
  return workload.run(Bench{device, rig, Random()});
}

std::vector<Results> RunAll(Device& device) {
  std::vector<Results> all;
  for (const Workload& workload : kWorkloads) all.push_back(RunOne(device, workload));
  return all;
}

void ExpectSame(const Results& got, const Results& want, const Workload& workload, const std::string& where) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t j = 0; j < want.size(); ++j) EXPECT_TRUE(SameBits(got[j], want[j])) << workload.name << ", result " << j << ", " << where;
}

void ExpectSame(const std::vector<Results>& got, const std::vector<Results>& want,
                const std::string& where) {
  for (size_t i = 0; i < want.size(); ++i) ExpectSame(got[i], want[i], kWorkloads[i], where);
}

bool HasEveryOp(const Device& device) {
  bool every = true;
#define RILL_HAS_OP(op, Args) every = every && device.ops().op != nullptr;
  RILL_FOR_EACH_OP(RILL_HAS_OP)
#undef RILL_HAS_OP
  return every;
}

class DeterminismTest : public DeviceTest {
 protected:
  void Repeat(const std::string& name) {
    if (!HasEveryOp(device())) GTEST_SKIP() << "device " << GetParam() << " lacks operators";
    const Workload* workload = std::find_if(std::begin(kWorkloads), std::end(kWorkloads), [&](const Workload& w) { return w.name == name; });
    ASSERT_NE(workload, std::end(kWorkloads)) << name;
    const Results first = RunOne(device(), *workload);
    for (int i = 0; i < 3; ++i) ExpectSame(RunOne(device(), *workload), first, *workload, "call " + std::to_string(i + 2));
  }
};

// Repeated calls give the same bits. A case for each workload, because compute-sanitizer takes minutes for them.
TEST_P(DeterminismTest, OfElementwise) { Repeat("elementwise"); }
TEST_P(DeterminismTest, OfConvolution) { Repeat("convolution"); }
TEST_P(DeterminismTest, OfRecurrences) { Repeat("recurrences"); }
TEST_P(DeterminismTest, OfAttention) { Repeat("attention"); }
TEST_P(DeterminismTest, OfProjections) { Repeat("projections"); }
TEST_P(DeterminismTest, OfMixture) { Repeat("mixture"); }
TEST_P(DeterminismTest, OfSampling) { Repeat("sampling"); }

RILL_FOR_EACH_DEVICE(DeterminismTest);

TEST(CpuDeterminism, AnyNumberOfThreadsGivesTheSameBits) {
  const std::vector<Results> one = RunAll(**OpenTestDevice("cpu", 1));
  for (const int n_threads : {2, 3, 7}) {
    const auto device = *OpenTestDevice("cpu", n_threads);
    ASSERT_EQ(device->info().n_threads, n_threads);
    ExpectSame(RunAll(*device), one, std::to_string(n_threads) + " threads");
  }
}

TEST(CpuDeterminism, InstructionSetsWithTheSameNumericsGiveTheSameBits) {
  const char* set_before = std::getenv("RILL_CPU_ISA");
  const std::string kept = set_before == nullptr ? "" : set_before;
  std::optional<std::vector<Results>> first;
  std::string numerics;
  for (const char* isa : {"generic", "avx2", "avx512", "neon"}) {
    setenv("RILL_CPU_ISA", isa, 1);
    const auto device = *OpenTestDevice("cpu", 2);
    if (device->info().description.rfind(isa, 0) != 0) continue;  // not on this processor
    RecordProperty(isa, device->info().description);
    if (!first) {
      first = RunAll(*device);
      numerics = device->info().numerics;
    } else if (device->info().numerics == numerics) {
      ExpectSame(RunAll(*device), *first, isa);
    }
  }
  EXPECT_TRUE(first) << "generic runs everywhere";
  if (set_before == nullptr) {
    unsetenv("RILL_CPU_ISA");
  } else {
    setenv("RILL_CPU_ISA", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace rill::test
