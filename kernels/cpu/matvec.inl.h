// A few activation rows through rows of a matrix, decoded in registers. kernels/cpu; see simd.h and
// isa.h.
//
// y[n] = Sum(lanes), lane l = sum over k = l, l + 16, l + 32, ... of W[n, k] * x[k], one fused
// multiply-add each: the order of Dot. R rows and T tokens run side by side, so that their chains
// hide the latency of the multiply-add and a decoded weight serves every token.
//
// Memory: the rows of a block follow each other, but are walked side by side, which hardware
// prefetchers do not see through. So while a block is computed the next one is asked for, line by
// line in the order it lies in memory.

namespace rill::RILL_SIMD_NAMESPACE {

inline constexpr int64_t kLine = 64;

// The bytes of the next block, handed out in step with the current one.
struct Ahead {
  const uint8_t* next;
  template <int kBytes>
  __attribute__((always_inline)) void Fetch() {
    for (int i = 0; i < kBytes; i += kLine) __builtin_prefetch(next + i, 0, 2);
    next += kBytes;
  }
};

template <WeightFormat F, int R, int T>
RILL_INLINE void DotPlain(const WeightRow<F>* rows, int64_t K, const float* const* x, Ahead ahead,
                          Vec (*sum)[T]) {
  constexpr int kElement = F == WeightFormat::kF32 ? 4 : 2;
  const auto step = [&](int64_t k, int lanes) __attribute__((always_inline)) {
    Vec inputs[T];
    for (int t = 0; t < T; ++t) inputs[t] = lanes == 16 ? Load(x[t] + k) : LoadN(x[t] + k, lanes);
    for (int r = 0; r < R; ++r) {
      const Vec weights = rows[r].Plain(k, lanes);
      for (int t = 0; t < T; ++t) sum[r][t] = Fma(weights, inputs[t], sum[r][t]);
    }
  };
  int64_t k = 0;
  for (; k + 16 <= K; k += 16) {
    if constexpr (R > 1) ahead.Fetch<R * 16 * kElement>();
    step(k, 16);
  }
  if (k < K) step(k, static_cast<int>(K - k));
}

// One group, inputs from k on; `lanes` of its 32 exist. A half that has none adds nothing, as in
// Matmul.
template <WeightFormat F, int R, int T>
RILL_INLINE void DotGroup(const WeightRow<F>* rows, int64_t group,
                          const float (*scales)[kScaleBatch], int64_t g, const float* const* x,
                          int lanes, Vec (*sum)[T]) {
  Vec low[T], high[T];
  for (int t = 0; t < T; ++t) {
    const float* p = x[t] + 32 * group;
    low[t] = lanes >= 16 ? Load(p) : LoadN(p, lanes);
    high[t] = lanes == 32 ? Load(p + 16) : lanes > 16 ? LoadN(p + 16, lanes - 16) : Zero();
  }
  for (int r = 0; r < R; ++r) {
    const VecPair weights = rows[r].Group(group, Set(scales[r][g]));
    for (int t = 0; t < T; ++t) {
      sum[r][t] = Fma(weights.low, low[t], sum[r][t]);
      if (lanes > 16) sum[r][t] = Fma(weights.high, high[t], sum[r][t]);
    }
  }
}

template <WeightFormat F, int R, int T>
RILL_INLINE void DotGroups(const WeightRow<F>* rows, int64_t K, const float* const* x, Ahead ahead,
                           Ahead scales_ahead, Vec (*sum)[T]) {
  constexpr int kGroupBytes = F == WeightFormat::kQ8 ? 32 : 16;
  float scales[R][kScaleBatch];
  const int64_t groups = (K + 31) / 32, whole = K / 32;
  for (int64_t first = 0; first < groups; first += kScaleBatch) {
    const int64_t batch = groups - first < kScaleBatch ? groups - first : kScaleBatch;
    if constexpr (R > 1) scales_ahead.Fetch<R * kScaleBatch * 2>();
    for (int r = 0; r < R; ++r) rows[r].Scales(first, batch, scales[r]);
    const int64_t full = whole - first < batch ? whole - first : batch;
    for (int64_t g = 0; g < full; ++g) {
      if constexpr (R > 1) ahead.Fetch<R * kGroupBytes>();
      DotGroup<F, R, T>(rows, first + g, scales, g, x, 32, sum);
    }
    if (full < batch) {
      DotGroup<F, R, T>(rows, whole, scales, full, x, static_cast<int>(K - 32 * whole), sum);
    }
  }
}

template <WeightFormat F, int R, int T>
RILL_INLINE void DotRows(const Weights& w, int64_t first, const float* const* x, float* const* y,
                         bool accumulate) {
  WeightRow<F> rows[R];
  Vec sum[R][T];
  for (int r = 0; r < R; ++r) {
    rows[r] = WeightRow<F>::At(w, first + r);
    for (int t = 0; t < T; ++t) sum[r][t] = Zero();
  }
  const Ahead ahead = {w.values + (first + R) * w.row_bytes};
  if constexpr (WeightRow<F>::IsQuantizedFormat()) {
    const Ahead scales_ahead = {
        reinterpret_cast<const uint8_t*>(w.scales + (first + R) * w.groups)};
    DotGroups<F, R, T>(rows, w.cols, x, ahead, scales_ahead, sum);
  } else {
    DotPlain<F, R, T>(rows, w.cols, x, ahead, sum);
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      float* out = y[t] + first + r;
      *out = accumulate ? *out + Sum(sum[r][t]) : Sum(sum[r][t]);
    }
  }
}

// Rows [begin, end) for T tokens; token t reads x[t] and writes y[t][row].
template <int T>
RILL_INLINE void FewTokens(const Weights& w, int64_t begin, int64_t end, const float* const* x,
                           float* const* y, bool accumulate) {
  constexpr int kFit = kDotSums / T, kRows = kFit >= 8 ? 8 : kFit >= 4 ? 4 : kFit >= 2 ? 2 : 1;
  ForFormat(w, [&]<WeightFormat F>() {
    int64_t row = begin;
    for (; row + kRows <= end; row += kRows) DotRows<F, kRows, T>(w, row, x, y, accumulate);
    for (; row < end; ++row) DotRows<F, 1, T>(w, row, x, y, accumulate);
  });
}

void Matvec(const Weights& w, int64_t begin, int64_t end, const float* x, float* y,
            bool accumulate) {
  FewTokens<1>(w, begin, end, &x, &y, accumulate);
}

}  // namespace rill::RILL_SIMD_NAMESPACE
