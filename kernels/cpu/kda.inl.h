// Kimi Delta Attention, one head, a range of value columns. kernels/cpu; see simd.h and isa.h.
//
// Columns of the state never meet, so a stripe of them can stay in the first-level cache while many
// tokens pass; it is copied out for that, because a stripe of a row-major state falls into a
// fraction of the cache's sets. For column j, a_i = Exp(g_i) and i over the keys:
//   S'[i] = a_i * S[i]
//   p_m   = sum over i = m, m + 4, .. of k_i * S'[i]           m = 0..3
//   u     = beta * (v - ((p_0 + p_1) + (p_2 + p_3)))
//   S[i]  = k_i * u + S'[i]
//   o_m   = sum over i = m, m + 4, .. of q_i * S[i]
//   o     = scale * ((o_0 + o_1) + (o_2 + o_3))
// every "x * y + z" one fused multiply-add. S' is not stored: multiplying twice gives the same bits
// and saves a store.

namespace rill::RILL_SIMD_NAMESPACE {

using cpu::KdaHead;
using cpu::KdaReplayHead;

inline constexpr int64_t kMaxKeys = 256, kTokensPerPass = 64;
inline constexpr int kChains = 4;

RILL_INLINE void ExpRow(const float* g, int64_t K, float* decay) {
  for (int64_t i = 0; i < K; i += 16) Store(decay + i, Exp(Load(g + i)));
}

template <int S>
RILL_INLINE void Clear(Vec (*sums)[S]) {
  for (int m = 0; m < kChains; ++m) {
    for (int s = 0; s < S; ++s) sums[m][s] = Zero();
  }
}

template <int S>
RILL_INLINE Vec Fold(const Vec (*sums)[S], int s) {
  return Add(Add(sums[0][s], sums[1][s]), Add(sums[2][s], sums[3][s]));
}

// p: what the decayed state predicts.
template <int S>
RILL_INLINE void Predict(const float* state, int64_t row_stride, int64_t K, const float* decay,
                         const float* k, Vec (*p)[S]) {
  Clear<S>(p);
  for (int64_t i = 0; i < K; i += kChains) {
    for (int m = 0; m < kChains; ++m) {
      const Vec a = Set(decay[i + m]), key = Set(k[i + m]);
      for (int s = 0; s < S; ++s) {
        p[m][s] = Fma(key, Mul(a, Load(state + (i + m) * row_stride + 16 * s)), p[m][s]);
      }
    }
  }
}

// Writes the delta into the state and reads the state back with q.
template <int S>
RILL_INLINE void WriteAndRead(float* state, int64_t row_stride, int64_t K, const float* decay,
                              const float* k, const float* q, const Vec* u, Vec (*o)[S]) {
  Clear<S>(o);
  for (int64_t i = 0; i < K; i += kChains) {
    for (int m = 0; m < kChains; ++m) {
      const Vec a = Set(decay[i + m]), key = Set(k[i + m]), query = Set(q[i + m]);
      float* row = state + (i + m) * row_stride;
      for (int s = 0; s < S; ++s) {
        const Vec updated = Fma(key, u[s], Mul(a, Load(row + 16 * s)));
        Store(row + 16 * s, updated);
        o[m][s] = Fma(query, updated, o[m][s]);
      }
    }
  }
}

// Token t on S Vecs of columns from j on; `state` is row 0 of those columns.
template <int S>
RILL_INLINE void StepStripe(const KdaHead& head, int64_t t, int64_t j, const float* decay,
                            float* state, int64_t row_stride) {
  Vec sums[kChains][S], u[S];
  const float* k = head.k + t * head.key_stride;
  const float* v = head.v + t * head.value_stride + j;
  Predict<S>(state, row_stride, head.K, decay, k, sums);
  const Vec beta = Set(head.beta[t * head.beta_stride]);
  for (int s = 0; s < S; ++s) u[s] = Mul(beta, Sub(Load(v + 16 * s), Fold<S>(sums, s)));
  WriteAndRead<S>(state, row_stride, head.K, decay, k, head.q + t * head.key_stride, u, sums);
  float* out = head.out + t * head.value_stride + j;
  for (int s = 0; s < S; ++s) Store(out + 16 * s, Mul(Set(head.scale), Fold<S>(sums, s)));
  if (head.ring_k == nullptr || t < head.first_recorded) return;
  float* record = head.ring_u + (head.ring_position + t) % head.ring_size * head.value_stride + j;
  for (int s = 0; s < S; ++s) Store(record + 16 * s, u[s]);
}

template <int S>
RILL_INLINE void CopyStripe(const float* from, int64_t from_stride, int64_t K, float* to,
                            int64_t to_stride) {
  for (int64_t i = 0; i < K; ++i) {
    for (int s = 0; s < S; ++s)
      Store(to + i * to_stride + 16 * s, Load(from + i * from_stride + 16 * s));
  }
}

// Tokens [first, first + n) on one stripe.
template <int S>
RILL_INLINE void RunStripe(const KdaHead& head, int64_t first, int64_t n, int64_t j,
                           const float* decays, float* stripe) {
  if (n == 1) {
    StepStripe<S>(head, first, j, decays, head.state + j, head.V);
    return;
  }
  CopyStripe<S>(head.state + j, head.V, head.K, stripe, 16 * S);
  for (int64_t t = 0; t < n; ++t)
    StepStripe<S>(head, first + t, j, decays + t * kMaxKeys, stripe, 16 * S);
  CopyStripe<S>(stripe, 16 * S, head.K, head.state + j, head.V);
}

// The worker that has the first columns also records the keys and decays.
RILL_INLINE void RecordKeys(const KdaHead& head) {
  if (head.ring_k == nullptr || head.begin != 0) return;
  for (int64_t t = head.first_recorded; t < head.T; ++t) {
    const int64_t slot = (head.ring_position + t) % head.ring_size * head.key_stride;
    for (int64_t i = 0; i < head.K; i += 16) {
      Store(head.ring_k + slot + i, Load(head.k + t * head.key_stride + i));
      Store(head.ring_g + slot + i, Load(head.g + t * head.key_stride + i));
    }
  }
}

void KdaRun(const KdaHead& head, float* scratch) {
  static_assert(kMaxKeys * 16 * kStripe + kTokensPerPass * kMaxKeys <= cpu::kScratchFloats);
  float* stripe = scratch;
  float* decays = scratch + kMaxKeys * 16 * kStripe;
  RecordKeys(head);
  for (int64_t first = 0; first < head.T; first += kTokensPerPass) {
    const int64_t n = head.T - first < kTokensPerPass ? head.T - first : kTokensPerPass;
    for (int64_t t = 0; t < n; ++t)
      ExpRow(head.g + (first + t) * head.key_stride, head.K, decays + t * kMaxKeys);
    int64_t j = head.begin;
    for (; j + 16 * kStripe <= head.end; j += 16 * kStripe)
      RunStripe<kStripe>(head, first, n, j, decays, stripe);
    for (; j < head.end; j += 16) RunStripe<1>(head, first, n, j, decays, stripe);
  }
}

void KdaReplay(const KdaReplayHead& head) {
  float decay[kMaxKeys];
  for (int64_t t = 0; t < head.n; ++t) {
    const int64_t slot = (head.position + t) % head.ring_size;
    const float* k = head.ring_k + slot * head.key_stride;
    ExpRow(head.ring_g + slot * head.key_stride, head.K, decay);
    for (int64_t i = 0; i < head.K; ++i) {
      const Vec a = Set(decay[i]), key = Set(k[i]);
      for (int64_t j = head.begin; j < head.end; j += 16) {
        float* cell = head.state + i * head.V + j;
        Store(cell, Fma(key, Load(head.ring_u + slot * head.value_stride + j), Mul(a, Load(cell))));
      }
    }
  }
}

}  // namespace rill::RILL_SIMD_NAMESPACE
