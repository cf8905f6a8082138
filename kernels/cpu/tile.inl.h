// The two register tiles that matrix products and attention are made of. kernels/cpu; see simd.h.

namespace rill::RILL_SIMD_NAMESPACE {

// Both operands in memory as float32: rows of `a` are `a_stride` apart, columns are whole rows
// elsewhere.
//
// sums[r][c] += a[r][k] * b[c][k], lanes over k as in Dot, for R rows and C columns. `sums` are
// Vecs in memory, row r of column c at sums + (c * sum_stride + r) * 16: a long k is done in
// pieces, and the pieces do not show in the bits.
template <int R, int C>
RILL_INLINE void DotTile(const float* a, int64_t a_stride, const float* const* b, int64_t n,
                         int last_lanes, float* sums, int64_t sum_stride, bool fresh) {
  Vec s[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) s[r][c] = fresh ? Zero() : Load(sums + (c * sum_stride + r) * 16);
  }
  const auto step = [&](int64_t k, int lanes) __attribute__((always_inline)) {
    Vec rows[R];
    for (int r = 0; r < R; ++r) rows[r] = Load(a + r * a_stride + k);
    for (int c = 0; c < C; ++c) {
      const Vec inputs = lanes == 16 ? Load(b[c] + k) : LoadN(b[c] + k, lanes);
      for (int r = 0; r < R; ++r) s[r][c] = Fma(rows[r], inputs, s[r][c]);
    }
  };
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) step(k, 16);
  if (last_lanes != 0) step(k, last_lanes);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) Store(sums + (c * sum_stride + r) * 16, s[r][c]);
  }
}

// DotTile for up to kTileCols columns.
template <int C = kTileCols>
RILL_INLINE void DotTileOf(int n_cols, const float* a, int64_t a_stride, const float* const* b,
                           int64_t n, int last_lanes, float* sums, int64_t sum_stride, bool fresh) {
  if (n_cols == C) {
    DotTile<kTileRows, C>(a, a_stride, b, n, last_lanes, sums, sum_stride, fresh);
  } else if constexpr (C > 1) {
    DotTileOf<C - 1>(n_cols, a, a_stride, b, n, last_lanes, sums, sum_stride, fresh);
  }
}

// out[c][j] += sum_i weight[c][i] * rows[i][j], i ascending, one fused multiply-add each, lanes
// over j: C columns and S Vecs of j at once.
template <int C, int S>
RILL_INLINE void SpreadTile(const float* weights, int64_t weight_stride, const float* rows,
                            int64_t row_stride, int64_t n, float* out, int64_t out_stride) {
  Vec s[C][S];
  for (int c = 0; c < C; ++c) {
    for (int j = 0; j < S; ++j) s[c][j] = Load(out + c * out_stride + 16 * j);
  }
  for (int64_t i = 0; i < n; ++i) {
    Vec row[S];
    for (int j = 0; j < S; ++j) row[j] = Load(rows + i * row_stride + 16 * j);
    for (int c = 0; c < C; ++c) {
      const Vec weight = Set(weights[c * weight_stride + i]);
      for (int j = 0; j < S; ++j) s[c][j] = Fma(weight, row[j], s[c][j]);
    }
  }
  for (int c = 0; c < C; ++c) {
    for (int j = 0; j < S; ++j) Store(out + c * out_stride + 16 * j, s[c][j]);
  }
}

template <int S, int C = kSpreadCols>
RILL_INLINE void SpreadTileOf(int n_cols, const float* weights, int64_t weight_stride,
                              const float* rows, int64_t row_stride, int64_t n, float* out,
                              int64_t out_stride) {
  if (n_cols == C) {
    SpreadTile<C, S>(weights, weight_stride, rows, row_stride, n, out, out_stride);
  } else if constexpr (C > 1) {
    SpreadTileOf<S, C - 1>(n_cols, weights, weight_stride, rows, row_stride, n, out, out_stride);
  }
}

// How many of `left` columns the next tile takes, at most `most`: tiles of nearly equal width,
// because a narrow one waits for its own sums.
RILL_INLINE int TileWidth(int64_t left, int most) {
  const int64_t tiles = (left + most - 1) / most;
  return static_cast<int>((left + tiles - 1) / tiles);
}

// S Vecs of j for all columns: the stripe of rows they read stays in the first-level cache
// meanwhile.
template <int S>
RILL_INLINE void SpreadStripe(const float* weights, int64_t weight_stride, int64_t n_cols,
                              const float* rows, int64_t row_stride, int64_t n, float* out,
                              int64_t out_stride) {
  for (int64_t c = 0; c < n_cols;) {
    const int cols = TileWidth(n_cols - c, kSpreadCols);
    SpreadTileOf<S>(cols, weights + c * weight_stride, weight_stride, rows, row_stride, n,
                    out + c * out_stride, out_stride);
    c += cols;
  }
}

// All of j; `width` is a multiple of 16.
RILL_INLINE void Spread(const float* weights, int64_t weight_stride, int64_t n_cols,
                        const float* rows, int64_t row_stride, int64_t n, int64_t width, float* out,
                        int64_t out_stride) {
  int64_t j = 0;
  for (; j + 16 * kSpreadVecs <= width; j += 16 * kSpreadVecs) {
    SpreadStripe<kSpreadVecs>(weights, weight_stride, n_cols, rows + j, row_stride, n, out + j,
                              out_stride);
  }
  for (; j < width; j += 16)
    SpreadStripe<1>(weights, weight_stride, n_cols, rows + j, row_stride, n, out + j, out_stride);
}

}  // namespace rill::RILL_SIMD_NAMESPACE
