// One activation row through rows of a matrix. kernels/cpu; see simd.h and isa.h.
//
// y[n] = Sum(lanes), lane l = sum over k = l, l + 16, l + 32, ... of W[n, k] * x[k], one fused
// multiply-add each: the order of Dot. kDotRows rows run side by side so that their chains hide the
// latency of the multiply-add.
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
    static_assert(kBytes % kLine == 0);
    for (int i = 0; i < kBytes; i += kLine) __builtin_prefetch(next + i, 0, 2);
    next += kBytes;
  }
};

template <WeightFormat F, int R>
RILL_INLINE void DotPlain(const WeightRow<F>* rows, int64_t K, const float* x, Ahead ahead,
                          Vec* sum) {
  constexpr int kElement = F == WeightFormat::kF32 ? 4 : 2;
  int64_t k = 0;
  for (; k + 16 <= K; k += 16) {
    if constexpr (R > 1) ahead.Fetch<R * 16 * kElement>();
    const Vec inputs = Load(x + k);
    for (int r = 0; r < R; ++r) sum[r] = Fma(rows[r].Plain(k, 16), inputs, sum[r]);
  }
  if (k < K) {
    const int lanes = static_cast<int>(K - k);
    const Vec inputs = LoadN(x + k, lanes);
    for (int r = 0; r < R; ++r) sum[r] = Fma(rows[r].Plain(k, lanes), inputs, sum[r]);
  }
}

// One group; `lanes` of its 32 inputs exist. A half that has none adds nothing, as in Matmul.
template <WeightFormat F, int R>
RILL_INLINE void DotGroup(const WeightRow<F>* rows, int64_t group,
                          const float (*scales)[kScaleBatch], int64_t g, const float* x, int lanes,
                          Vec* sum) {
  const Vec low = lanes >= 16 ? Load(x) : LoadN(x, lanes);
  const Vec high = lanes == 32 ? Load(x + 16) : lanes > 16 ? LoadN(x + 16, lanes - 16) : Zero();
  for (int r = 0; r < R; ++r) {
    const VecPair weights = rows[r].Group(group, Set(scales[r][g]));
    sum[r] = Fma(weights.low, low, sum[r]);
    if (lanes > 16) sum[r] = Fma(weights.high, high, sum[r]);
  }
}

template <WeightFormat F, int R>
RILL_INLINE void DotGroups(const WeightRow<F>* rows, int64_t K, const float* x, Ahead ahead,
                           Ahead scales_ahead, Vec* sum) {
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
      DotGroup<F, R>(rows, first + g, scales, g, x + 32 * (first + g), 32, sum);
    }
    if (full < batch) {
      DotGroup<F, R>(rows, whole, scales, full, x + 32 * whole, static_cast<int>(K - 32 * whole),
                     sum);
    }
  }
}

template <WeightFormat F, int R>
RILL_INLINE void DotRows(const Weights& w, int64_t first, const float* x, float* y,
                         bool accumulate) {
  WeightRow<F> rows[R];
  Vec sum[R];
  for (int r = 0; r < R; ++r) {
    rows[r] = WeightRow<F>::At(w, first + r);
    sum[r] = Zero();
  }
  const Ahead ahead = {w.values + (first + R) * w.row_bytes};
  if constexpr (WeightRow<F>::IsQuantizedFormat()) {
    const Ahead scales_ahead = {
        reinterpret_cast<const uint8_t*>(w.scales + (first + R) * w.groups)};
    DotGroups<F, R>(rows, w.cols, x, ahead, scales_ahead, sum);
  } else {
    DotPlain<F, R>(rows, w.cols, x, ahead, sum);
  }
  for (int r = 0; r < R; ++r) y[first + r] = accumulate ? y[first + r] + Sum(sum[r]) : Sum(sum[r]);
}

void Matvec(const Weights& w, int64_t begin, int64_t end, const float* x, float* y,
            bool accumulate) {
  ForFormat(w, [&]<WeightFormat F>() {
    int64_t row = begin;
    for (; row + kDotRows <= end; row += kDotRows) DotRows<F, kDotRows>(w, row, x, y, accumulate);
    for (; row < end; ++row) DotRows<F, 1>(w, row, x, y, accumulate);
  });
}

}  // namespace rill::RILL_SIMD_NAMESPACE
