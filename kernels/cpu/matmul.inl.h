// T activation rows through rows of a matrix. kernels/cpu; see simd.h and isa.h.
//
// Each weight is read and decoded once per kTokenBlock tokens: kPanelRows rows of kRun inputs
// become float32 in the first- level cache and meet every token of the block there. Order of the
// sum as in Matvec.

namespace rill::RILL_SIMD_NAMESPACE {

inline constexpr int64_t kPanelRows = 8, kRun = 384, kTokenBlock = 96;
static_assert(kPanelRows % kTileRows == 0 &&
              kPanelRows * kRun + kTokenBlock * kPanelRows * 16 <= cpu::kScratchFloats);

// From here on decoding once into memory is worth the stores.
inline constexpr int64_t kManyTokens = 5;

RILL_INLINE const float* Row(const Rows& x, int64_t t) {
  return x.data + x.stride * (x.index == nullptr ? t : x.index[t] / x.share);
}

// The tile of panel rows [r, r + kTileRows) for all tokens of a block.
RILL_INLINE void PanelTokens(const float* panel, const Rows& x, int64_t first, int64_t n_tokens,
                             int64_t k, int64_t n, int64_t n_rows, float* sums) {
  const int last_lanes = static_cast<int>(n % 16);
  for (int64_t t = 0; t < n_tokens;) {
    const int cols = TileWidth(n_tokens - t, kTileCols);
    const float* inputs[kTileCols];
    for (int c = 0; c < cols; ++c) inputs[c] = Row(x, first + t + c) + k;
    for (int64_t r = 0; r < n_rows; r += kTileRows) {
      DotTileOf(cols, panel + r * kRun, kRun, inputs, n, last_lanes,
                sums + (t * kPanelRows + r) * 16, kPanelRows, k == 0);
    }
    t += cols;
  }
}

template <WeightFormat F>
RILL_INLINE void MatmulPanel(const Weights& w, int64_t row, int64_t n_rows, const Rows& x,
                             int64_t first, int64_t n_tokens, float* panel, float* sums) {
  const int64_t padded = (n_rows + kTileRows - 1) / kTileRows * kTileRows;
  for (int64_t k = 0; k < w.cols; k += kRun) {
    const int64_t n = w.cols - k < kRun ? w.cols - k : kRun;
    for (int64_t r = 0; r < padded; ++r)
      DecodeRun<F>(w, row + (r < n_rows ? r : n_rows - 1), k, n, panel + r * kRun);
    PanelTokens(panel, x, first, n_tokens, k, n, padded, sums);
  }
}

// Sums of a panel, two tokens at a time, to rows [row, row + n_rows) of the output.
RILL_INLINE void StorePanel(const float* sums, const Rows& x, int64_t first, int64_t n_tokens,
                            int64_t row, int64_t n_rows, float* y, int64_t y_stride,
                            bool accumulate) {
  static_assert(kPanelRows == 8 && kTokenBlock % 2 == 0);
  float both[16];
  for (int64_t t = 0; t < n_tokens; ++t) {
    if (t % 2 == 0) SumEach(sums + t * kPanelRows * 16, both);
    float* out = y + (x.index == nullptr ? first + t : x.index[first + t]) * y_stride + row;
    for (int64_t r = 0; r < n_rows; ++r) {
      const float sum = both[t % 2 * kPanelRows + r];
      out[r] = accumulate ? out[r] + sum : sum;
    }
  }
}

RILL_INLINE void MatmulFew(const Weights& w, int64_t begin, int64_t end, const Rows& x, float* y,
                           int64_t y_stride, bool accumulate) {
  const float* inputs[kManyTokens];
  float* outputs[kManyTokens];
  for (int64_t t = 0; t < x.n; ++t) {
    inputs[t] = Row(x, t);
    outputs[t] = y + (x.index == nullptr ? t : x.index[t]) * y_stride;
  }
  switch (x.n) {
    case 1:
      return FewTokens<1>(w, begin, end, inputs, outputs, accumulate);
    case 2:
      return FewTokens<2>(w, begin, end, inputs, outputs, accumulate);
    case 3:
      return FewTokens<3>(w, begin, end, inputs, outputs, accumulate);
    case 4:
      return FewTokens<4>(w, begin, end, inputs, outputs, accumulate);
  }
}

void Matmul(const Weights& w, int64_t begin, int64_t end, const Rows& x, float* y, int64_t y_stride,
            bool accumulate, float* scratch) {
  if (x.n < kManyTokens) return MatmulFew(w, begin, end, x, y, y_stride, accumulate);
  float* panel = scratch;
  float* sums = scratch + kPanelRows * kRun;
  for (int64_t first = 0; first < x.n; first += kTokenBlock) {
    const int64_t n_tokens = x.n - first < kTokenBlock ? x.n - first : kTokenBlock;
    for (int64_t row = begin; row < end; row += kPanelRows) {
      const int64_t n_rows = end - row < kPanelRows ? end - row : kPanelRows;
      ForFormat(w, [&]<WeightFormat F>() {
        MatmulPanel<F>(w, row, n_rows, x, first, n_tokens, panel, sums);
      });
      StorePanel(sums, x, first, n_tokens, row, n_rows, y, y_stride, accumulate);
    }
  }
}

}  // namespace rill::RILL_SIMD_NAMESPACE
