// The promise of the numerics string "cpu-fma16-1": the same bits from every operator, whatever the
// instruction set and however many threads. One answer is taken as the measure, plain code on one
// thread.
#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/device/guarded_device.h"
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

namespace rill::test {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kQ8,
                                     WeightFormat::kQ4};

using Results = std::vector<std::pair<std::string, std::vector<float>>>;

// Runs every operator on inputs that depend on the seed alone and keeps what each one wrote.
class Everything {
 public:
  Everything(Device& device, uint64_t seed) : rig_(device), random_(seed) {}

  Results Run() {
    Projections();
    Rows();
    Convolution();
    Kda();
    Attention();
    Mixture();
    Sampling();
    return std::move(results_);
  }

 private:
  template <typename Args>
  void Call(const std::string& name, absl::Status (*OpTable::*op)(Device&, const Args&),
            const Args& args, std::initializer_list<TensorView> outputs) {
    const absl::Status status = (rig_.device().ops().*op)(rig_.device(), args);
    ASSERT_TRUE(status.ok()) << name << ": " << status;
    for (const TensorView& output : outputs) results_.emplace_back(name, rig_.Read(output));
  }

  TensorView In(std::initializer_list<int64_t> dims) {
    const int64_t n = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
    return rig_.In(random_.Normal(n), dims);
  }
  MatrixView Matrix(WeightFormat format, int64_t rows, int64_t cols) {
    return rig_.Matrix(format, random_.Normal(rows * cols, 0.1f), rows, cols);
  }

  void Projections() {
    for (const WeightFormat format : kFormats) {
      for (const int64_t T : {1, 7, 101}) {
        const int64_t K = T == 7 ? 1000 : 141;
        const Projection projections[] = {{Matrix(format, 37, K), rig_.Out({T, 37})},
                                          {Matrix(format, 300, K), rig_.Out({T, 300})}};
        Call<MatmulArgs>("matmul", &OpTable::matmul, {In({T, K}), projections, false},
                         {projections[0].out, projections[1].out});
      }
      const TensorView out = rig_.Out({3, 203});
      Call<EmbedArgs>("embed", &OpTable::embed,
                      {rig_.In(std::vector<int32_t>{5, 0, 8}, {3}), Matrix(format, 9, 203), out},
                      {out});
    }
  }

  void Rows() {
    const int64_t T = 9, H = 5, D = 1021;
    const TensorView norm = rig_.Out({T, D}), unit = rig_.Out({T, H, 48}),
                     gated = rig_.Out({T, H, 48});
    const TensorView act = rig_.Out({T, D}), g = rig_.Out({T, H, 48}), beta = rig_.Out({T, H}),
                     sum = In({T, D});
    Call<RmsNormArgs>("rms_norm", &OpTable::rms_norm, {1e-5f, In({T, D}), In({D}), norm}, {norm});
    Call<L2NormArgs>("l2_norm", &OpTable::l2_norm, {1e-6f, In({T, H, 48}), unit}, {unit});
    Call<GatedRmsNormArgs>("gated_rms_norm", &OpTable::gated_rms_norm,
                           {1e-5f, In({T, H, 48}), In({T, H, 48}), In({48}), gated}, {gated});
    Call<SwigluArgs>("swiglu", &OpTable::swiglu, {In({T, D}), In({T, D}), act}, {act});
    Call<KdaGateArgs>("kda_gate", &OpTable::kda_gate,
                      {In({T, H, 48}), In({H}), In({H, 48}), In({T, H}), g, beta}, {g, beta});
    Call<AddArgs>("add", &OpTable::add, {sum, In({T, D})}, {sum});
  }

  void Convolution() {
    for (const int64_t T : {1, 2, 30}) {
      const int64_t C = 1000, W = 4;
      const TensorView tail = In({C, W - 1}), out = rig_.Out({T, C}), ring = rig_.Out({T, C});
      Call<ShortConvArgs>("short_conv", &OpTable::short_conv,
                          {In({T, C}), In({C, W}), tail, out, {}, ring, 12345}, {tail, out, ring});
    }
  }

  void Kda() {
    const KdaCase c = MakeKdaCase(random_, 75, 5, 48, 144, Gates::kMixed);
    const KdaTensors x = Place(rig_, c);
    KdaChunkArgs args = ChunkArgs(c, x, rig_.Workspace(KdaChunkWorkspaceBytes(c.T, c.H, c.K, c.V)));
    const TensorView after = rig_.Out({c.H, c.K, c.V}), state = rig_.In(c.state, {c.H, c.K, c.V});
    const StateExport exports[] = {{41, after.data}};
    args.exports = exports;
    args.ring = MakeRing(rig_, c, c.T);
    Call("kda_chunk", &OpTable::kda_chunk, args, {x.out, x.state, after, args.ring.u});
    Call<KdaReplayArgs>("kda_replay", &OpTable::kda_replay, {args.ring, 0, c.T, state}, {state});
    EXPECT_TRUE(SameBits(rig_.Read(state), rig_.Read(x.state)));
  }

  void Attention() {
    const MlaShape shape = {6, 24, 20, 40, 72};
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      const MlaCase c = MakeMlaCase(random_, shape, 131, 300, WeightFormat::kQ8, dtype, 3);
      const MlaPrefillArgs args = PrefillArgs(rig_, c);
      Call("mla_prefill", &OpTable::mla_prefill, args, {args.out});
      const MlaDecodeArgs decode = DecodeArgs(rig_, args, 130);
      Call("mla_decode", &OpTable::mla_decode, decode, {decode.out});
      const MlaCacheView cache = rig_.Cache(dtype, 72, 20, 150);
      ASSERT_NO_FATAL_FAILURE(Call<MlaAppendArgs>("mla_append", &OpTable::mla_append,
                                                  {1e-6f, In({150, 92}), In({72}), cache, 0}, {}));
      results_.emplace_back("mla_append", rig_.ReadCacheRows(cache, 150));
    }
  }

  void Mixture() {
    const int64_t T = 40, D = 200, E = 24, width = 72, top_k = 3;
    for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kQ4}) {
      RouterArgs router{};
      router.activation =
          format == WeightFormat::kBf16 ? RouterActivation::kSigmoid : RouterActivation::kSoftmax;
      router.top_k = top_k;
      router.n_groups = 4;
      router.topk_groups = 2;
      router.renormalize = true;
      router.scaling = 2.4f;
      router.x = In({T, D});
      router.weight = Matrix(WeightFormat::kBf16, E, D);
      router.bias = In({E});
      router.scores = rig_.Out({T, E});
      router.ids = rig_.Out({T, top_k}, DType::kI32);
      router.weights = rig_.Out({T, top_k});
      Call("router", &OpTable::router, router, {router.scores, router.weights});

      std::vector<std::vector<float>> matrices;
      for (int64_t m = 0; m < 3 * E; ++m) matrices.push_back(random_.Normal(width * D, 0.1f));
      const TensorView out = rig_.Out({T, D});
      Call<ExpertsArgs>(
          "experts", &OpTable::experts,
          {router.x, router.ids, router.weights, rig_.Experts(format, matrices, D, width), false,
           out, rig_.Workspace(ExpertsWorkspaceBytes(T, top_k, E, D, width))},
          {out});
    }
  }

  void Sampling() {
    const int64_t vocab = 10007;
    const TensorView logits = rig_.In(random_.Normal(vocab, 3), {vocab});
    for (int draw = 0; draw < 40; ++draw) {
      int32_t token = -1;
      float logprob = 0;
      SampleArgs args;
      args.temperature = static_cast<float>(draw % 4) * 0.6f;
      args.top_p = draw % 3 == 0 ? 1 : 0.9f;
      args.position = draw;
      args.logits = logits;
      args.workspace = rig_.Workspace(SampleWorkspaceBytes(vocab));
      args.token = &token;
      args.logprob = &logprob;
      ASSERT_NO_FATAL_FAILURE(Call("sample", &OpTable::sample, args, {}));
      results_.push_back({"sample", {static_cast<float>(token), logprob}});
    }
  }

  Rig rig_;
  Random random_;
  Results results_;
};

Results RunOn(CpuIsa isa, int n_threads, uint64_t seed) {
  auto device = GuardDevice(std::make_unique<cpu::CpuDevice>(n_threads, *cpu::GetIsa(isa)));
  EXPECT_TRUE(device.ok()) << device.status();
  return Everything(**device, seed).Run();
}

TEST(CpuBits, DependOnNeitherInstructionSetNorThreads) {
  const uint64_t seed = Seed();
  const Results want = RunOn(CpuIsa::kGeneric, 1, seed);
  ASSERT_GT(want.size(), 60u);
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kNeon}) {
    if (!Supports(isa)) continue;
    for (const int n_threads : {1, 2, 3, 7, 16}) {
      const Results got = RunOn(isa, n_threads, seed);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_TRUE(SameBits(got[i].second, want[i].second))
            << "result " << i << ", " << want[i].first << ", on " << Name(isa) << " with "
            << n_threads << " threads";
      }
    }
  }
}

TEST(CpuBits, TheDeviceSaysWhatItIs) {
  const cpu::CpuDevice device(3, *cpu::GetIsa(CpuIsa::kGeneric));
  EXPECT_EQ(device.info().name, "cpu");
  EXPECT_EQ(device.info().description, "generic, 3 threads");
  EXPECT_EQ(device.info().numerics, "cpu-fma16-1");
  EXPECT_EQ(device.info().n_threads, 3);
}

TEST(CpuBits, EveryOperatorIsThere) {
  cpu::CpuDevice device(1, *cpu::GetIsa(BestCpuIsa()));
#define RILL_EXPECT_OP(name, Args) EXPECT_NE(device.ops().name, nullptr) << #name;
  RILL_FOR_EACH_OP(RILL_EXPECT_OP)
#undef RILL_EXPECT_OP
}

}  // namespace
}  // namespace rill::test
