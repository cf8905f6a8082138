// The fused decode step against the operators of `ref`, token by token, over a small random model.
#include "kernels/ops/fused_decoder.h"

#include <algorithm>
#include <deque>
#include <numeric>

#include "kernels/cuda/open_cuda.h"
#include "kernels/ops/add.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/experts.h"
#include "kernels/ops/gated_rms_norm.h"
#include "kernels/ops/kda_gate.h"
#include "kernels/ops/l2_norm.h"
#include "kernels/ops/matvec.h"
#include "kernels/ops/mla_append.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/short_conv.h"
#include "kernels/ops/swiglu.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

struct Shape {
  int64_t hidden, vocab, heads, head_dim, rank, conv_width;
  int64_t mla_heads, nope, rope, value, latent;
  int64_t n_experts, top_k, n_groups, topk_groups, width, shared_width, dense_width;
  WeightFormat format;
  DType cache;
  std::string mixers;  // K or M
  std::string feeds;   // E or D
  int64_t ring;        // tokens, 0 for none
};

// One model and one session on one device; the same seed makes the same model on every device.
class Model {
 public:
  Model(Device& device, const Shape& shape, uint64_t seed, int64_t context) : rig_(device), random_(seed), c_(shape) {
    spec_.hidden = c_.hidden, spec_.vocab = c_.vocab, spec_.max_context = context;
    spec_.norm_eps = 1e-5f;
    spec_.embedding = Weight(WeightFormat::kBf16, c_.vocab, c_.hidden, 1);
    spec_.final_norm = Vector(c_.hidden);
    spec_.lm_head = Weight(c_.format, c_.vocab, c_.hidden);
    spec_.logits = rig_.Out({1, c_.vocab});
    for (size_t i = 0; i < c_.mixers.size(); ++i) AddLayer(c_.mixers[i], c_.feeds[i], context);
    spec_.layers = layers_;
    spec_.states = states_;
  }

  const DecoderSpec& spec() const { return spec_; }
  Device& device() { return rig_.device(); }
  std::vector<float> Logits() { return rig_.Read(spec_.logits); }
  std::vector<float> Read(const TensorView& view) { return rig_.Read(view); }

  // Rows of the cache as if `n` tokens had been there.
  void FillCaches(int64_t n, uint64_t seed) {
    Random random(seed);
    for (const DecoderLayerState& state : states_) {
      if (state.mla_cache.pages != nullptr) rig_.WriteCacheRows(state.mla_cache, random.Floats(n * (c_.latent + c_.rope), -1, 1));
    }
  }

  // The same step as operators.
  void Step(int32_t token, int64_t position) {
    const TensorView x = Out(1, c_.hidden);
    Do(&OpTable::embed, EmbedArgs{rig_.In(std::vector<int32_t>{token}, {1}), spec_.embedding, x});
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerWeights& w = layers_[i];
      const TensorView normed = Norm(x, w.input_norm);
      const TensorView mixed = w.is_kda ? Kda(w.kda, states_[i], normed, position) : Mla(w.mla, states_[i], normed, position);
      Do(&OpTable::add, AddArgs{x, mixed});
      const TensorView fed = Feed(w, Norm(x, w.post_norm));
      Do(&OpTable::add, AddArgs{x, fed});
    }
    Project(Norm(x, spec_.final_norm), {{spec_.lm_head, spec_.logits}});
  }

 private:
  template <typename Args>
  void Do(absl::Status (*OpTable::*op)(Device&, const Args&), const Args& args) {
    const absl::Status status = (device().ops().*op)(device(), args);
    ASSERT_TRUE(status.ok()) << status;
  }

  template <typename... Dims>
  TensorView Out(Dims... dims) { return rig_.Out({dims...}); }
  TensorView Vector(int64_t n, float low = 0.5f, float high = 1.5f) { return rig_.In(random_.Floats(n, low, high), {n}); }
  MatrixView Weight(WeightFormat format, int64_t rows, int64_t cols, float scale = 0) {
    const float deviation = scale != 0 ? scale : 1 / std::sqrt(static_cast<float>(cols));
    return rig_.Matrix(format, random_.Normal(rows * cols, deviation), rows, cols);
  }
  MatrixView Weight(int64_t rows, int64_t cols) { return Weight(c_.format, rows, cols); }

  void AddLayer(char mixer, char feed, int64_t context) {
    LayerWeights w;
    DecoderLayerState state;
    w.is_kda = mixer == 'K', w.is_moe = feed == 'E';
    w.input_norm = Vector(c_.hidden), w.post_norm = Vector(c_.hidden);
    if (w.is_kda) AddKda(w.kda, state);
    else AddMla(w.mla, state, context);
    if (w.is_moe) AddMoe(w.moe);
    else w.dense = Glu(c_.dense_width);
    layers_.push_back(w);
    states_.push_back(state);
  }

  void AddKda(KdaWeights& w, DecoderLayerState& state) {
    const int64_t H = c_.heads, K = c_.head_dim, C = H * K, W = c_.conv_width, R = c_.rank, D = c_.hidden;
    w = {H, K, W, R, 1 / std::sqrt(static_cast<float>(K)), 1e-5f};
    w.q = Weight(C, D), w.k = Weight(C, D), w.v = Weight(C, D);
    w.f_a = Weight(WeightFormat::kBf16, R, D), w.g_a = Weight(WeightFormat::kBf16, R, D);
    w.f_b = Weight(WeightFormat::kBf16, C, R), w.g_b = Weight(WeightFormat::kBf16, C, R);
    w.b = Weight(WeightFormat::kBf16, H, D);
    w.o = Weight(D, C);
    for (TensorView* conv : {&w.conv_q, &w.conv_k, &w.conv_v}) *conv = rig_.In(random_.Normal(C * W, 0.5f), {C, W});
    w.a_log = Vector(H, -1, 1.5f);
    w.dt_bias = rig_.In(random_.Normal(C), {H, K});
    w.o_norm = Vector(K);
    state.kda_state = rig_.In(random_.Normal(C * K, 0.1f), {H, K, K});
    state.conv_tail = rig_.In(random_.Normal(3 * C * (W - 1)), {3 * C, W - 1});
    if (c_.ring == 0) return;
    const auto zeros = [](int64_t n) { return std::vector<float>(n, 0.0f); };
    state.ring = {rig_.In(zeros(c_.ring * C), {c_.ring, H, K}), rig_.In(zeros(c_.ring * C), {c_.ring, H, K}),
                  rig_.In(zeros(c_.ring * C), {c_.ring, H, K})};
    state.conv_ring = rig_.In(zeros(3 * c_.ring * C), {3, c_.ring, C});
  }

  void AddMla(MlaWeights& w, DecoderLayerState& state, int64_t context) {
    const int64_t H = c_.mla_heads, N = c_.nope, P = c_.rope, V = c_.value, R = c_.latent, D = c_.hidden;
    w = {{H, N, P, V, R}, 1 / std::sqrt(static_cast<float>(N + P)), 1e-6f, 0};
    w.q = Weight(H * (N + P), D);
    w.kv_a = Weight(R + P, D);
    w.kv_norm = Vector(R);
    w.kv_b = Weight(H * (N + V), R);
    w.o = Weight(D, H * V);
    state.mla_cache = rig_.Cache(c_.cache, R, P, context);
  }

  // Biases 2, 4, 8, ... in random order: no two experts and no two pairs of experts come closer than any score can bridge, so
  // that rounding cannot change a choice. The router's own test lets scores decide.
  std::vector<float> DistinctBias(int64_t E) {
    std::vector<float> bias(E);
    for (int64_t e = 0; e < E; ++e) bias[e] = std::ldexp(2.0f, static_cast<int>(e));
    for (int64_t e = E - 1; e > 0; --e) std::swap(bias[e], bias[random_.Int(0, e)]);
    return bias;
  }

  GluWeights Glu(int64_t width) {
    if (width == 0) return {};
    return {width, Weight(width, c_.hidden), Weight(width, c_.hidden), Weight(c_.hidden, width)};
  }

  void AddMoe(MoeWeights& w) {
    const int64_t E = c_.n_experts, D = c_.hidden, I = c_.width;
    w.activation = RouterActivation::kSigmoid;
    w.top_k = static_cast<int>(c_.top_k);
    w.n_groups = static_cast<int>(c_.n_groups), w.topk_groups = static_cast<int>(c_.topk_groups);
    w.renormalize = true;
    w.scaling = 2.446f;
    w.router = Weight(WeightFormat::kBf16, E, D);
    w.router_bias = rig_.In(DistinctBias(E), {E});
    std::vector<std::vector<float>> matrices;
    for (int64_t e = 0; e < E; ++e) {
      for (int i = 0; i < 3; ++i) matrices.push_back(random_.Normal(D * I, 1 / std::sqrt(static_cast<float>(i < 2 ? D : I))));
    }
    w.experts = rig_.Experts(c_.format, matrices, D, I);
    w.shared = Glu(c_.shared_width);
  }

  TensorView Norm(const TensorView& x, const TensorView& weight, float eps = 1e-5f) {
    const TensorView out = Out(1, c_.hidden);
    Do(&OpTable::rms_norm, RmsNormArgs{eps, x, weight, out});
    return out;
  }
  void Project(const TensorView& x, const std::vector<Projection>& projections) {
    Do(&OpTable::matvec, MatvecArgs{x, projections, false});
  }
  TensorView Project(const TensorView& x, const MatrixView& weight) {
    const TensorView out = Out(1, weight.rows);
    Project(x, {{weight, out}});
    return out;
  }
  static TensorView AsHeads(const TensorView& x, int64_t H) { return MakeView(x.data, DType::kF32, 1, H, x.size() / H); }

  TensorView Convolved(const KdaWeights& w, const DecoderLayerState& state, int which, const TensorView& x, int64_t position) {
    const int64_t C = w.heads * w.head_dim;
    ShortConvArgs args = {};
    args.x = x;
    args.weight = which == 0 ? w.conv_q : which == 1 ? w.conv_k : w.conv_v;
    args.tail = state.conv_tail.Rows(which * C, C);
    args.out = Out(1, C);
    if (!state.conv_ring.empty()) args.ring = F32View(state.conv_ring.f32() + which * c_.ring * C, c_.ring, C);
    args.position = position;
    Do(&OpTable::short_conv, args);
    return AsHeads(args.out, w.heads);
  }

  TensorView Kda(const KdaWeights& w, const DecoderLayerState& state, const TensorView& x, int64_t position) {
    const int64_t H = w.heads, K = w.head_dim;
    const TensorView q = Convolved(w, state, 0, Project(x, w.q), position);
    const TensorView k = Convolved(w, state, 1, Project(x, w.k), position);
    const TensorView v = Convolved(w, state, 2, Project(x, w.v), position);
    Do(&OpTable::l2_norm, L2NormArgs{1e-6f, q, q});
    Do(&OpTable::l2_norm, L2NormArgs{1e-6f, k, k});
    const TensorView f = AsHeads(Project(Project(x, w.f_a), w.f_b), H), gate = AsHeads(Project(Project(x, w.g_a), w.g_b), H);
    const TensorView b = Project(x, w.b), g = Out(int64_t{1}, H, K), beta = Out(int64_t{1}, H), out = Out(int64_t{1}, H, K);
    Do(&OpTable::kda_gate, KdaGateArgs{f, w.a_log, w.dt_bias, b, g, beta});
    Do(&OpTable::kda_step, KdaStepArgs{w.scale, q, k, v, g, beta, state.kda_state, out, state.ring, position});
    Do(&OpTable::gated_rms_norm, GatedRmsNormArgs{w.norm_eps, out, gate, w.o_norm, out});
    return Project(F32View(out.f32(), 1, H * K), w.o);
  }

  TensorView Mla(const MlaWeights& w, const DecoderLayerState& state, const TensorView& x, int64_t position) {
    const MlaShape& s = w.shape;
    Do(&OpTable::mla_append, MlaAppendArgs{w.norm_eps, Project(x, w.kv_a), w.kv_norm, state.mla_cache, position});
    const TensorView out = Out(int64_t{1}, s.n_heads, s.value);
    const TensorView workspace = rig_.Workspace(MlaWorkspaceBytes(s, 1, position + 1));
    Do(&OpTable::mla_decode, MlaDecodeArgs{s, w.scale, AsHeads(Project(x, w.q), s.n_heads), w.kv_b, state.mla_cache, position + 1, out, workspace});
    return Project(F32View(out.f32(), 1, s.n_heads * s.value), w.o);
  }

  TensorView GluOf(const GluWeights& w, const TensorView& x) {
    const TensorView gate = Project(x, w.gate), up = Project(x, w.up);
    Do(&OpTable::swiglu, SwigluArgs{gate, up, gate});
    return Project(gate, w.down);
  }

  TensorView Feed(const LayerWeights& w, const TensorView& x) {
    if (!w.is_moe) return GluOf(w.dense, x);
    const MoeWeights& m = w.moe;
    const int64_t k = m.top_k, E = m.router.rows;
    const TensorView scores = Out(int64_t{1}, E), weights = Out(int64_t{1}, k), out = Out(int64_t{1}, c_.hidden);
    const TensorView ids = rig_.Out({1, k}, DType::kI32);
    Do(&OpTable::router, RouterArgs{m.activation, m.top_k, m.n_groups, m.topk_groups, m.renormalize, m.scaling, x, m.router, m.router_bias, scores, ids, weights});
    const TensorView workspace = rig_.Workspace(ExpertsWorkspaceBytes(1, m.top_k, m.experts.n_experts, c_.hidden, c_.width));
    Do(&OpTable::experts, ExpertsArgs{x, ids, weights, m.experts, false, out, workspace});
    if (m.shared.width > 0) Do(&OpTable::add, AddArgs{out, GluOf(m.shared, x)});
    return out;
  }

  Rig rig_;
  Random random_;
  Shape c_;
  DecoderSpec spec_ = {};
  std::vector<LayerWeights> layers_;
  std::vector<DecoderLayerState> states_;
};

Shape Small(WeightFormat format) {
  return {100, 77, 3, 64, 24, 4, 3, 20, 8, 12, 40, 10, 3, 2, 1, 40, 24, 72, format, DType::kF32, "KKMK", "DEEE", 5};
}

Shape WithManyWords(WeightFormat format) {
  Shape shape = Small(format);
  shape.vocab = 30'001;
  return shape;
}

class FusedDecoderTest : public DeviceTest {
 protected:
  void Compare(const Shape& shape, int64_t n_tokens, double tolerance, int64_t first = 0) { Compare(device(), shape, n_tokens, tolerance, first); }

  // The last of `end` tokens, all of them or, under a tool, `few`.
  void CompareUpTo(const Shape& shape, int64_t end, int64_t few, double tolerance) {
    const int64_t n = Repetitions(end, few);
    Compare(shape, n, tolerance, end - n);
  }

  // Tokens [first, first + n_tokens): those before have left random rows in the caches, and nothing else.
  void Compare(Device& tested, const Shape& shape, int64_t n_tokens, double tolerance, int64_t first) {
    CompareAt(tested, shape, PositionsFrom(first, n_tokens), tolerance);
  }
  static std::vector<int64_t> PositionsFrom(int64_t first, int64_t n) {
    std::vector<int64_t> positions(n);
    std::iota(positions.begin(), positions.end(), first);
    return positions;
  }

  // Tokens at these positions, one after the other; rows in front of the first one are random.
  void CompareAt(Device& tested, const Shape& shape, const std::vector<int64_t>& positions, double tolerance) {
    const uint64_t seed = random_.Bits();
    auto ref = OpenDevice("ref");
    ASSERT_TRUE(ref.ok()) << ref.status();
    const int64_t context = *std::max_element(positions.begin(), positions.end()) + 2;
    Model want(**ref, shape, seed, context), got(tested, shape, seed, context);
    for (Model* model : {&want, &got}) model->FillCaches(positions.front(), seed);
    const uint64_t planned = tested.ops().fused_decoder_bytes(got.spec());
    auto decoder = tested.ops().make_fused_decoder(tested, got.spec());
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    EXPECT_EQ((*decoder)->device_bytes(), planned);
    const uint64_t allocated = tested.allocated_bytes();
    for (const int64_t t : positions) {
      const int32_t token = static_cast<int32_t>(random_.Int(0, shape.vocab - 1));
      ASSERT_NO_FATAL_FAILURE(want.Step(token, t));
      ASSERT_TRUE((*decoder)->Step(token, t).ok());
      ASSERT_TRUE(tested.Synchronize().ok());
      ASSERT_TRUE(Close(got.Logits(), want.Logits(), tolerance)) << "token " << t;
    }
    EXPECT_EQ(tested.allocated_bytes(), allocated) << "steps must not allocate";
    for (size_t i = 0; i < shape.mixers.size(); ++i) {
      if (shape.mixers[i] != 'K') continue;
      const DecoderLayerState &a = got.spec().states[i], &b = want.spec().states[i];
      EXPECT_TRUE(Close(got.Read(a.kda_state), want.Read(b.kda_state), tolerance)) << "state of layer " << i;
      EXPECT_TRUE(Close(got.Read(a.conv_tail), want.Read(b.conv_tail), tolerance)) << "tail of layer " << i;
      if (shape.ring == 0) continue;
      EXPECT_TRUE(Close(got.Read(a.ring.k), want.Read(b.ring.k), tolerance)) << "ring of layer " << i;
      EXPECT_TRUE(Close(got.Read(a.ring.u), want.Read(b.ring.u), tolerance)) << "ring of layer " << i;
      EXPECT_TRUE(Close(got.Read(a.ring.g), want.Read(b.ring.g), tolerance)) << "ring of layer " << i;
      EXPECT_TRUE(Close(got.Read(a.conv_ring), want.Read(b.conv_ring), tolerance)) << "ring of layer " << i;
    }
  }

  void CompareOnFew(const Shape& shape, int64_t n_tokens, double tolerance, int64_t first = 0) {
    CompareAtOnFew(shape, PositionsFrom(first, n_tokens), tolerance);
  }
  void CompareAtOnFew(const Shape& shape, const std::vector<int64_t>& positions, double tolerance) {
    auto few = OpenDevice(GetParam(), 0, 8);
    ASSERT_TRUE(few.ok()) << few.status();
    CompareAt(**few, shape, positions, tolerance);
  }

  void CompareWithSharedMemory(int kilobytes, const Shape& shape, int64_t n_tokens, double tolerance, int64_t first = 0, int sms = SmBudget()) {
    if (GetParam() != "cuda") GTEST_SKIP() << "shared memory is the GPU's";
    auto limited = OpenCudaDevice(0, sms, kilobytes << 10);
    ASSERT_TRUE(limited.ok()) << limited.status();
    Compare(**limited, shape, n_tokens, tolerance, first);
  }
};

// The head sizes of the 48B model and its bf16 cache: attention runs on the matrix units. The second layer's rounding meets no later
// choice of experts.
Shape Tiles() {
  return {64, 96, 2, 128, 128, 4, 2, 128, 64, 128, 512, 8, 4, 1, 1, 64, 64, 96, WeightFormat::kQ4, DType::kBf16, "KM", "ED", 0};
}

// A case for each format, as for all that take minutes under compute-sanitizer.
TEST_P(FusedDecoderTest, AgreesWithTheOperatorsInF32) {
  RILL_NEEDS_OP(make_fused_decoder);
  Compare(Small(WeightFormat::kF32), 9, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesWithTheOperatorsInBf16) {
  RILL_NEEDS_OP(make_fused_decoder);
  Compare(Small(WeightFormat::kBf16), 9, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesWithTheOperatorsInQ8) {
  RILL_NEEDS_OP(make_fused_decoder);
  Compare(Small(WeightFormat::kQ8), 9, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesWithTheOperatorsInQ4) {
  RILL_NEEDS_OP(make_fused_decoder);
  Compare(Small(WeightFormat::kQ4), 9, 2e-3);
}

TEST_P(FusedDecoderTest, AgreesOverTilesAndPages) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareUpTo(Tiles(), 140, 16, 2e-2);
}
TEST_P(FusedDecoderTest, AgreesOverManyTilesAndPages) {
  RILL_NEEDS_OP(make_fused_decoder);
  Compare(Tiles(), Repetitions(70, 10), 2e-2, 632);
}

// A share of the vocabulary larger than a job: the head takes several passes.
TEST_P(FusedDecoderTest, AgreesOnFewMultiprocessorsInSeveralPassesInQ4) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareOnFew(WithManyWords(WeightFormat::kQ4), 5, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesOnFewMultiprocessorsInSeveralPassesInBf16) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareOnFew(WithManyWords(WeightFormat::kBf16), 5, 2e-3);
}

// 164 KB a block, as Orin has: half of the slots for weights on their way. 64 KB: none.
TEST_P(FusedDecoderTest, AgreesWithHalfOfTheSlots) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareWithSharedMemory(164, Small(WeightFormat::kQ4), 5, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesWithoutSlots) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareWithSharedMemory(64, Small(WeightFormat::kQ4), 5, 2e-3);
}
// 99 KB, as many GPUs have: no room for the attention's tiles.
TEST_P(FusedDecoderTest, AgreesWithLittleSharedMemory) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareWithSharedMemory(99, Small(WeightFormat::kQ4), 5, 2e-3);
}
TEST_P(FusedDecoderTest, AgreesAtTheModelsHeadsWithLittleSharedMemory) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareWithSharedMemory(99, Tiles(), Repetitions(70, 10), 2e-2);
  CompareWithSharedMemory(99, Tiles(), Repetitions(70, 20), 2e-2, 500);  // behind 512 tokens by plain arithmetic
}
std::vector<int64_t> ThereAndBack() { return {509, 510, 511, 512, 513, 514, 508, 509, 512, 513, 510, 100, 3, 0, 1}; }
// Attention is by heads up to 512 tokens, over tiles from there on, and by heads again in a session that goes back.
TEST_P(FusedDecoderTest, AgreesWhereAContextIsShortNoMoreAndAgain) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareAt(device(), Tiles(), ThereAndBack(), 2e-2);
}
TEST_P(FusedDecoderTest, AgreesWhereAContextIsShortNoMoreAndAgainOnFewMultiprocessors) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareAtOnFew(Tiles(), ThereAndBack(), 2e-2);
}
// Heads that are not the model's, in each format, on more blocks than there is work for and on fewer.
TEST_P(FusedDecoderTest, AgreesOverShortContextsOfOtherHeads) {
  RILL_NEEDS_OP(make_fused_decoder);
  Shape shape = Tiles();
  shape.mla_heads = 5, shape.nope = 40, shape.value = 72;
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kQ8, WeightFormat::kF32, WeightFormat::kQ4}) {
    shape.format = format;
    shape.mixers = "KM";
    CompareOnFew(shape, 3, 2e-2, 255);
    shape.mixers = "MM";
    Compare(shape, 12, 2e-2);
  }
}
// On eight multiprocessors a block has more than 64 rows from 512 tokens on: warpgroup products, where the chip has them.
TEST_P(FusedDecoderTest, AgreesWhereABlockHasManyTiles) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareOnFew(Tiles(), 12, 2e-2, 505);
  CompareOnFew(Tiles(), 3, 2e-2, 1534);
}
// 164 KB: room for tiles, but not for those that warpgroup products take.
TEST_P(FusedDecoderTest, AgreesOverPortableTiles) {
  RILL_NEEDS_OP(make_fused_decoder);
  CompareWithSharedMemory(164, Tiles(), Repetitions(70, 20), 2e-2, 500);
}

TEST_P(FusedDecoderTest, WithoutSharedExpertsAndWithManyMlaHeads) {
  RILL_NEEDS_OP(make_fused_decoder);
  Shape shape = {96, 64, 1, 32, 16, 3, 40, 16, 64, 32, 512, 5, 2, 1, 1, 32, 0, 64, WeightFormat::kQ8, DType::kBf16, "KM", "ED", 3};
  CompareUpTo(shape, 70, 10, 2e-2);
}

// 40 heads. On a big GPU a block takes 16 of them over tiles up to 4,224 tokens (of 132 multiprocessors), on a small one 32.
TEST_P(FusedDecoderTest, AgreesWhereABlockHasSomeOfTheHeads) {
  RILL_NEEDS_OP(make_fused_decoder);
  Shape shape = Tiles();
  shape.mla_heads = 40;
  Compare(shape, Repetitions(3, 1), 2e-2, 600);
  Compare(shape, Repetitions(3, 1), 2e-2, 2300);
  CompareAt(device(), shape, {4223, 4224, 4225, 602}, 2e-2);
  CompareWithSharedMemory(164, shape, Repetitions(3, 1), 2e-2, 600, 8);  // without room for warpgroup products' tiles
}

TEST_P(FusedDecoderTest, TheSameStateGivesTheSameBits) {
  RILL_NEEDS_OP(make_fused_decoder);
  const uint64_t seed = random_.Bits();
  std::vector<std::vector<float>> logits[2];
  for (auto& run : logits) {
    Model model(device(), Small(WeightFormat::kQ4), seed, 20);
    auto decoder = device().ops().make_fused_decoder(device(), model.spec());
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    for (int t = 0; t < 20; ++t) {
      ASSERT_TRUE((*decoder)->Step(t % 7, t).ok());
      ASSERT_TRUE(device().Synchronize().ok());
      run.push_back(model.Logits());
    }
  }
  for (size_t t = 0; t < logits[0].size(); ++t) ASSERT_TRUE(SameBits(logits[0][t], logits[1][t])) << "token " << t;
}

TEST_P(FusedDecoderTest, RefusesWhatItDoesNotCoverAndWhatDoesNotFit) {
  RILL_NEEDS_OP(make_fused_decoder);
  Shape shape = Small(WeightFormat::kQ4);
  Model model(device(), shape, random_.Bits(), 4);
  auto decoder = device().ops().make_fused_decoder(device(), model.spec());
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_TRUE(absl::IsInvalidArgument((*decoder)->Step(77, 0)));
  EXPECT_TRUE(absl::IsInvalidArgument((*decoder)->Step(-1, 0)));
  EXPECT_TRUE(absl::IsInvalidArgument((*decoder)->Step(0, 4)));
  DecoderSpec mixed = model.spec();
  mixed.lm_head.format = WeightFormat::kQ8;
  const absl::Status two_formats = device().ops().make_fused_decoder(device(), mixed).status();
  EXPECT_TRUE(absl::IsUnimplemented(two_formats)) << two_formats;
  EXPECT_NE(two_formats.message().find("layer 0: a KDA projection is q4, covered is q8"), absl::string_view::npos) << two_formats;
  EXPECT_EQ(device().ops().fused_decoder_bytes(mixed), 0u) << "the plan counts no decoder where none is made";
  shape.head_dim = 48;
  Model odd(device(), shape, random_.Bits(), 4);
  const absl::Status status = device().ops().make_fused_decoder(device(), odd.spec()).status();
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_NE(status.message().find("layer 0: KDA head size is 48"), absl::string_view::npos) << status;
}

RILL_FOR_EACH_DEVICE(FusedDecoderTest);

}  // namespace
}  // namespace rill::test
