#include "kernels/ops/kda_chunk.h"

#include "tests/kernels/kda_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

// The chunkwise form as ops/kda_chunk.h writes it, for one head and chunks of C tokens, in double.
class ChunkwiseHead {
 public:
  ChunkwiseHead(const KdaCase& c, int64_t h, int64_t C) : c_(c), h_(h), S_(c.K * c.V) {
    for (int64_t i = 0; i < c.K * c.V; ++i) S_[i] = c.state[h * c.K * c.V + i];
    out_.resize(c.T * c.V);
    for (int64_t begin = 0; begin < c.T; begin += C) Chunk(begin, std::min(begin + C, c.T));
  }
  const std::vector<double>& out() const { return out_; }  // [T, V]
  const std::vector<double>& state() const { return S_; }  // [K, V]

 private:
  double q(int64_t t, int64_t d) const { return c_.q[(t * c_.H + h_) * c_.K + d]; }
  double k(int64_t t, int64_t d) const { return c_.k[(t * c_.H + h_) * c_.K + d]; }
  double v(int64_t t, int64_t j) const { return c_.v[(t * c_.H + h_) * c_.V + j]; }
  double beta(int64_t t) const { return c_.beta[t * c_.H + h_]; }

  void Chunk(int64_t begin, int64_t end) {
    const int64_t K = c_.K, V = c_.V, n = end - begin;
    std::vector<double> G(n * K);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t d = 0; d < K; ++d) {
        G[i * K + d] = (i == 0 ? 0 : G[(i - 1) * K + d]) + c_.g[((begin + i) * c_.H + h_) * K + d];
      }
    }
    // Rows of [beta V | beta K exp(G)] become rows of [U | W] by forward substitution with I + Akk.
    std::vector<double> U(n * V), W(n * K), Aqk(n * n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < V; ++j) U[i * V + j] = beta(begin + i) * v(begin + i, j);
      for (int64_t d = 0; d < K; ++d)
        W[i * K + d] = beta(begin + i) * k(begin + i, d) * std::exp(G[i * K + d]);
      for (int64_t s = 0; s <= i; ++s) {
        double kk = 0, qk = 0;
        for (int64_t d = 0; d < K; ++d) {
          const double decayed = k(begin + s, d) * std::exp(G[i * K + d] - G[s * K + d]);
          kk += k(begin + i, d) * decayed;
          qk += q(begin + i, d) * decayed;
        }
        Aqk[i * n + s] = c_.scale * qk;
        if (s == i) continue;
        for (int64_t j = 0; j < V; ++j) U[i * V + j] -= beta(begin + i) * kk * U[s * V + j];
        for (int64_t d = 0; d < K; ++d) W[i * K + d] -= beta(begin + i) * kk * W[s * K + d];
      }
    }
    for (int64_t i = 0; i < n; ++i) {  // U becomes V~ = U - W S
      for (int64_t d = 0; d < K; ++d) {
        for (int64_t j = 0; j < V; ++j) U[i * V + j] -= W[i * K + d] * S_[d * V + j];
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < V; ++j) {
        double o = 0;
        for (int64_t d = 0; d < K; ++d)
          o += c_.scale * q(begin + i, d) * std::exp(G[i * K + d]) * S_[d * V + j];
        for (int64_t s = 0; s <= i; ++s) o += Aqk[i * n + s] * U[s * V + j];
        out_[(begin + i) * V + j] = o;
      }
    }
    for (int64_t d = 0; d < K; ++d) {
      const double last = G[(n - 1) * K + d];
      for (int64_t j = 0; j < V; ++j) {
        double s = std::exp(last) * S_[d * V + j];
        for (int64_t i = 0; i < n; ++i)
          s += k(begin + i, d) * std::exp(last - G[i * K + d]) * U[i * V + j];
        S_[d * V + j] = s;
      }
    }
  }

  const KdaCase& c_;
  int64_t h_;
  std::vector<double> S_, out_;
};

double LargestDifference(const KdaCase& c, int64_t C) {
  const KdaAnswer want = Recurrence(c);
  double largest = 0;
  for (int64_t h = 0; h < c.H; ++h) {
    const ChunkwiseHead head(c, h, C);
    for (int64_t t = 0; t < c.T; ++t) {
      for (int64_t j = 0; j < c.V; ++j) {
        largest = std::max(largest,
                           std::fabs(head.out()[t * c.V + j] - want.out[(t * c.H + h) * c.V + j]));
      }
    }
    for (int64_t i = 0; i < c.K * c.V; ++i) {
      largest = std::max(largest, std::fabs(head.state()[i] - want.state[h * c.K * c.V + i]));
    }
  }
  return largest;
}

// The formula of the header is the recurrence: the ground on which devices with matrix units stand.
TEST(KdaChunkFormula, EqualsTheRecurrenceForAnyGatesAndKeys) {
  Random random;
  for (const Gates gates : {Gates::kMild, Gates::kStrong, Gates::kMixed}) {
    for (const int64_t C : {1, 16, 64}) {
      KdaCase c = MakeKdaCase(random, 70, 2, 32, 16, gates);
      EXPECT_LT(LargestDifference(c, C), 1e-11) << "chunks of " << C;
      MakeKeysIdentical(c);
      EXPECT_LT(LargestDifference(c, C), 1e-11) << "identical keys, chunks of " << C;
    }
  }
}

class KdaChunkTest : public DeviceTest {
 protected:
  TensorView Workspace(const KdaCase& c) {
    return rig().Workspace(KdaChunkWorkspaceBytes(c.T, c.H, c.K, c.V));
  }
};

TEST_P(KdaChunkTest, FollowsTheRecurrence) {
  RILL_NEEDS_OP(kda_chunk);
  for (const int64_t T : {1, 2, 15, 31, 33, 63, 64, 65, 127, 129, 191}) {
    for (const Gates gates : {Gates::kMild, Gates::kStrong, Gates::kMixed}) {
      const KdaCase c = MakeKdaCase(random_, T, 3, 48, 32, gates);
      const KdaTensors x = Place(rig(), c);
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_chunk, ChunkArgs(c, x, Workspace(c))));
      const KdaAnswer want = Recurrence(c);
      EXPECT_TRUE(Close(rig().Read(x.out), want.out, Tolerance(1e-5))) << T << " tokens";
      EXPECT_TRUE(Close(rig().Read(x.state), want.state, Tolerance(1e-5))) << T << " tokens";
    }
  }
}

TEST_P(KdaChunkTest, FollowsTheRecurrenceAtTheModelsHeadSize) {
  RILL_NEEDS_OP(kda_chunk);
  for (const Gates gates : {Gates::kMild, Gates::kMixed}) {
    KdaCase c = MakeKdaCase(random_, 100, 2, 128, 128, gates);
    MakeKeysIdentical(c);
    const KdaTensors x = Place(rig(), c);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_chunk, ChunkArgs(c, x, Workspace(c))));
    const KdaAnswer want = Recurrence(c);
    EXPECT_TRUE(Close(rig().Read(x.out), want.out, Tolerance(1e-5)));
    EXPECT_TRUE(Close(rig().Read(x.state), want.state, Tolerance(1e-5)));
  }
}

TEST_P(KdaChunkTest, HostDevicesGiveTheBitsOfRepeatedSteps) {
  RILL_NEEDS_OP(kda_chunk);
  if (!is_host()) GTEST_SKIP() << "only host devices promise this";
  const int64_t R = 32;
  for (const int64_t T : {1, 2, 31, 33, 65, 129}) {
    for (const int64_t K : {16, 48, 128}) {
      const KdaCase c = MakeKdaCase(random_, T, 3, K, 80, Gates::kMixed);
      const KdaTensors chunk = Place(rig(), c), steps = Place(rig(), c);
      const KdaRing chunk_ring = MakeRing(rig(), c, R), step_ring = MakeRing(rig(), c, R);
      KdaChunkArgs args = ChunkArgs(c, chunk, Workspace(c));
      args.ring = chunk_ring;
      std::vector<StateExport> exports;
      std::vector<TensorView> exported;
      for (int64_t after = random_.Int(1, 3); after <= T; after += random_.Int(1, 40)) {
        exported.push_back(rig().Out({c.H, c.K, c.V}));
        exports.push_back({after, exported.back().data});
      }
      args.exports = exports;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_chunk, args));
      size_t next = 0;
      for (int64_t t = 0; t < T; ++t) {
        KdaStepArgs step = StepArgs(c, steps, t);
        step.ring = step_ring;
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_step, step));
        if (next == exports.size() || exports[next].after != t + 1) continue;
        EXPECT_TRUE(SameBits(rig().Read(exported[next]), rig().Read(steps.state)))
            << "exported after " << t + 1;
        ++next;
      }
      EXPECT_TRUE(SameBits(rig().Read(chunk.out), rig().Read(steps.out)))
          << T << " tokens, K = " << K;
      EXPECT_TRUE(SameBits(rig().Read(chunk.state), rig().Read(steps.state)))
          << T << " tokens, K = " << K;
      EXPECT_TRUE(SameBits(rig().Read(chunk_ring.k), rig().Read(step_ring.k)))
          << T << " tokens, K = " << K;
      EXPECT_TRUE(SameBits(rig().Read(chunk_ring.u), rig().Read(step_ring.u)))
          << T << " tokens, K = " << K;
      EXPECT_TRUE(SameBits(rig().Read(chunk_ring.g), rig().Read(step_ring.g)))
          << T << " tokens, K = " << K;
    }
  }
}

TEST_P(KdaChunkTest, ExportsStatesInsideTheCallAndOutMayBeV) {
  RILL_NEEDS_OP(kda_chunk);
  const int64_t T = 131;
  const KdaCase c = MakeKdaCase(random_, T, 2, 32, 48, Gates::kMixed);
  KdaTensors x = Place(rig(), c);
  x.out = x.v;
  KdaChunkArgs args = ChunkArgs(c, x, Workspace(c));
  std::vector<StateExport> exports;
  std::vector<TensorView> targets;
  for (const int64_t after : {int64_t{1}, int64_t{63}, int64_t{64}, int64_t{65}, int64_t{128}, T}) {
    targets.push_back(rig().Out({c.H, c.K, c.V}));
    exports.push_back({after, targets.back().data});
  }
  args.exports = exports;
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_chunk, args));
  const KdaAnswer want = Recurrence(c);
  EXPECT_TRUE(Close(rig().Read(x.out), want.out, Tolerance(1e-5)));
  for (size_t i = 0; i < exports.size(); ++i) {
    EXPECT_TRUE(Close(rig().Read(targets[i]), want.states[exports[i].after - 1], Tolerance(1e-5)))
        << "after " << exports[i].after;
  }
  EXPECT_TRUE(SameBits(rig().Read(targets.back()), rig().Read(x.state)));
}

TEST_P(KdaChunkTest, RingKeepsTheLastTokensWhereverItWraps) {
  RILL_NEEDS_OP(kda_chunk);
  const int64_t R = 16;
  for (const int64_t T : {5, 16, 70}) {
    for (const int64_t position : {0, 13, 1000003}) {
      const KdaCase c = MakeKdaCase(random_, T, 2, 16, 32);
      const KdaTensors x = Place(rig(), c);
      KdaChunkArgs args = ChunkArgs(c, x, Workspace(c));
      args.ring = MakeRing(rig(), c, R);
      args.position = position;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::kda_chunk, args));
      const KdaAnswer want = Recurrence(c);
      const int64_t hk = c.H * c.K, hv = c.H * c.V;
      for (int64_t t = std::max<int64_t>(0, T - R); t < T; ++t) {
        const auto slot = [&](const TensorView& v) {
          return rig().Read(v.Rows((position + t) % R, 1));
        };
        EXPECT_TRUE(
            Close(slot(args.ring.k), absl::MakeConstSpan(c.k).subspan(t * hk, hk), Tolerance(0)));
        EXPECT_TRUE(
            Close(slot(args.ring.g), absl::MakeConstSpan(c.g).subspan(t * hk, hk), Tolerance(0)));
        EXPECT_TRUE(Close(slot(args.ring.u), absl::MakeConstSpan(want.u).subspan(t * hv, hv),
                          Tolerance(1e-5)));
      }
    }
  }
}

TEST(KdaChunkCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const KdaCase c = MakeKdaCase(random, 5, 2, 16, 32);
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  KdaChunkArgs good = ChunkArgs(c, Place(rig, c), {});
  good.ring = MakeRing(rig, c, 3);
  using Args = KdaChunkArgs;
  EXPECT_EQ(Complaint(good), "") << "host devices need no workspace";
  ExpectRefused(good, "kda_chunk.scale: inf", [](Args& a) { a.scale = INFINITY; });
  ExpectRefused(good, "kda_chunk.state: rank 2, expected 3", [](Args& a) { a.state.rank = 2; });
  ExpectRefused(good, "kda_chunk.k: shape [4, 2, 16], expected [5, 2, 16]",
                [](Args& a) { a.k.dim[0] = 4; });
  ExpectRefused(good, "kda_chunk.v: shape [5, 2, 16], expected [5, 2, 32]",
                [](Args& a) { a.v.dim[2] = 16; });
  ExpectRefused(good, "kda_chunk.g: absent", [](Args& a) { a.g.data = nullptr; });
  ExpectRefused(good, "kda_chunk.beta: shape [5, 1], expected [5, 2]",
                [](Args& a) { a.beta.dim[1] = 1; });
  ExpectRefused(good, "kda_chunk.out: type f16, expected f32",
                [](Args& a) { a.out.dtype = DType::kF16; });
  ExpectRefused(good, "kda_chunk.ring.g: shape [3, 2, 32], expected [3, 2, 16]",
                [](Args& a) { a.ring.g.dim[2] = 32; });
  ExpectRefused(good,
                "kda_chunk.position: 9223372036854775807, expected at most 9223372036854775802",
                [](Args& a) { a.position = INT64_MAX; });
  const StateExport exports[] = {{0, good.out.data}};
  ExpectRefused(good, "kda_chunk.exports: entry 0 is after 0, expected more than 0",
                [&](Args& a) { a.exports = exports; });
}

RILL_FOR_EACH_DEVICE(KdaChunkTest);

}  // namespace
}  // namespace rill::test
