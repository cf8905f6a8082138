// Latent attention: absorbing a query, attending to one split of the cache, joining splits.
// kernels/cpu; see simd.h, isa.h and, for the layout of the workspace, kernels/ops/mla_workspace.h.
//
//   q~[r]   = sum_n q[n] * W_K[n, r]      n ascending, one fused multiply-add each
//   s[t]    = scale * Dot([q~ | q_rope], row t)
//   weight  = Exp(s[t] - max), their sum in lanes t mod 16 and Sum
//   m[r]    = sum_t weight[t] * latent[t, r]   t ascending, one fused multiply-add each
// A partial is m [latent rounded up to 16], then max, then sum.

namespace rill::RILL_SIMD_NAMESPACE {

using cpu::CacheRows;

inline constexpr int64_t kSplit = 128;       // kMlaSplitTokens
inline constexpr int64_t kRowsInCache = 16;  // a multiple of every kTileRows

RILL_INLINE int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Memory to be asked for, `helping` bytes at a time.
struct Upcoming {
  const uint8_t* at;
  int64_t left, helping;
  __attribute__((always_inline)) void FetchSome() {
    const int64_t n = left < helping ? left : helping;
    for (int64_t i = 0; i < n; i += kLine) __builtin_prefetch(at + i, 0, 2);
    at += n;
    left -= n;
  }
};

void MlaAbsorb(const Weights& w, int64_t nope, const Rows& q, float* absorbed, int64_t stride,
               float* scratch) {
  const int64_t width = RoundUp(w.cols, 16), row_stride = RoundUp(w.cols, 32);
  const int64_t rows_at_once =
      cpu::kScratchFloats / row_stride < 16 ? cpu::kScratchFloats / row_stride : 16;
  for (int64_t t = 0; t < q.n; ++t) {
    for (int64_t r = 0; r < width; r += 16) Store(absorbed + t * stride + r, Zero());
  }
  for (int64_t first = 0; first < nope; first += rows_at_once) {
    const int64_t n = nope - first < rows_at_once ? nope - first : rows_at_once;
    ForFormat(w, [&]<WeightFormat F>() {
      for (int64_t i = 0; i < n; ++i)
        DecodeRun<F>(w, first + i, 0, w.cols, scratch + i * row_stride);
    });
    Spread(q.data + first, q.stride, q.n, scratch, row_stride, n, width, absorbed, stride);
  }
}

// Rows [first, first + n) of the split as float32, `stride` apart, zero beyond the width; at least
// kTileRows of them.
RILL_INLINE void WidenRows(const CacheRows& cache, int64_t first, int64_t n, int64_t stride,
                           float* out) {
  for (int64_t i = 0; i < RoundUp(n, kTileRows); ++i) {
    float* row = out + i * stride;
    const int64_t from = (first + (i < n ? i : n - 1)) * cache.width;
    RILL_FOR_LANES(r, lanes, cache.width) {
      if (!cache.bf16) {
        Store(row + r, LoadSome(static_cast<const float*>(cache.data) + from + r, lanes));
      } else {
        const uint16_t* p = static_cast<const uint16_t*>(cache.data) + from + r;
        Store(row + r, lanes == 16 ? LoadBf16(p) : LoadBf16N(p, static_cast<int>(lanes)));
      }
    }
  }
}

// scores[c][t] = scale * Dot(queries[c], rows[t]) for up to kTileCols queries and kTileRows rows.
RILL_INLINE void ScoreTile(const float* rows, int64_t stride, float scale, const float* queries,
                           int n_cols, float* scores) {
  constexpr int kSums = (kTileCols * kTileRows + 15) / 16 * 16;
  float vecs[kSums * 16], sums[kSums];
  const float* inputs[kTileCols];
  for (int c = 0; c < n_cols; ++c) inputs[c] = queries + c * stride;
  DotTileOf(n_cols, rows, stride, inputs, stride, 0, vecs, kTileRows, true);
  for (int i = 0; i < n_cols * kTileRows; i += 16) SumEach(vecs + 16 * i, sums + i);
  for (int c = 0; c < n_cols; ++c) {
    for (int r = 0; r < kTileRows; ++r) scores[c * kSplit + r] = scale * sums[c * kTileRows + r];
  }
}

// Scores of all queries for n rows. Rows go by in runs that stay in the first-level cache for every
// query; meanwhile the next split is on its way from memory.
RILL_INLINE void ScoreRows(const float* rows, int64_t stride, int64_t n, float scale,
                           const float* queries, int64_t n_queries, float* scores, Upcoming* next) {
  for (int64_t first = 0; first < n; first += kRowsInCache) {
    const int64_t last = n - first < kRowsInCache ? n : first + kRowsInCache;
    for (int64_t c = 0; c < n_queries;) {
      const int cols = TileWidth(n_queries - c, kTileCols);
      for (int64_t t = first; t < last; t += kTileRows) {
        next->FetchSome();
        ScoreTile(rows + t * stride, stride, scale, queries + c * stride, cols,
                  scores + c * kSplit + t);
      }
      c += cols;
    }
  }
}

// Scores of one query become weights; returns their sum. Those beyond the n visible ones become
// zero.
RILL_INLINE float WeighScores(float* scores, int64_t n, float max) {
  Vec sum = Zero();
  for (int64_t t = n; t < RoundUp(n, 16); ++t) scores[t] = -__builtin_inff();
  for (int64_t t = 0; t < n; t += 16) {
    const Vec weight = Exp(Sub(Load(scores + t), Set(max)));
    Store(scores + t, weight);
    sum = Add(sum, weight);
  }
  return Sum(sum);
}

// m += weights x latents for queries that see `visible` rows each, of which rows [first, first + n)
// are at hand.
RILL_INLINE void SpreadQueries(const float* scores, const int64_t* visible, int64_t n_queries,
                               const float* rows, int64_t row_stride, int64_t first, int64_t n,
                               int64_t latent, float* partials, int64_t stride) {
  const int64_t width = RoundUp(latent, 16);
  for (int64_t c = 0; c < n_queries;) {
    int64_t alike = 1;
    while (c + alike < n_queries && visible[c + alike] == visible[c]) ++alike;
    const int64_t seen = visible[c] - first < n ? visible[c] - first : n;
    if (seen > 0) {
      Spread(scores + c * kSplit + first, kSplit, alike, rows, row_stride, seen, width,
             partials + c * stride, stride);
    }
    c += alike;
  }
}

void MlaSplit(const CacheRows& cache, int64_t latent, float scale, const float* queries,
              int64_t n_queries, const int64_t* visible, float* partials, int64_t stride,
              float* scratch) {
  const int64_t row_stride = RoundUp(cache.width, 16), width = RoundUp(latent, 16);
  float* scores = scratch;  // [cpu::kMlaQueriesAtOnce][kSplit]
  float* rows = scratch + cpu::kMlaQueriesAtOnce * kSplit;
  const int64_t room =
      (cpu::kScratchFloats - cpu::kMlaQueriesAtOnce * kSplit) / row_stride / kTileRows * kTileRows;
  const int64_t at_once = room < kSplit ? room : kSplit;
  // Its lines in equal helpings, one for every tile of scores.
  const int64_t tiles =
      RoundUp(cache.n, kTileRows) / kTileRows * (RoundUp(n_queries, kTileCols) / kTileCols);
  Upcoming next = {static_cast<const uint8_t*>(cache.next), cache.next_bytes,
                   RoundUp(cache.next_bytes / tiles, kLine)};
  for (int64_t first = 0; first < cache.n; first += at_once) {
    const int64_t n = cache.n - first < at_once ? cache.n - first : at_once;
    WidenRows(cache, first, n, row_stride, rows);
    ScoreRows(rows, row_stride, n, scale, queries, n_queries, scores + first, &next);
  }
  for (int64_t c = 0; c < n_queries; ++c) {
    float* partial = partials + c * stride;
    for (int64_t r = 0; r < width; r += 16) Store(partial + r, Zero());
    if (visible[c] == 0) continue;
    partial[width] = Largest(scores + c * kSplit, visible[c]);
    partial[width + 1] = WeighScores(scores + c * kSplit, visible[c], partial[width]);
  }
  for (int64_t first = 0; first < cache.n; first += at_once) {
    const int64_t n = cache.n - first < at_once ? cache.n - first : at_once;
    if (at_once < cache.n) WidenRows(cache, first, n, row_stride, rows);
    SpreadQueries(scores, visible, n_queries, rows, row_stride, first, n, latent, partials, stride);
  }
}

// running <- running joined with the partial of the next split, both brought to the larger maximum.
void MlaCombine(float* running, const float* partial, int64_t latent) {
  const int64_t width = RoundUp(latent, 16);
  const float before = running[width], split = partial[width];
  const float max = split > before ? split : before;
  const Vec keep = Set(ExpOne(before - max)), take = Set(ExpOne(split - max));
  const float sums[2] = {running[width + 1], partial[width + 1]};
  float total[16];
  Store(total, Fma(Set(sums[1]), take, Mul(Set(sums[0]), keep)));
  running[width] = max;
  running[width + 1] = total[0];
  for (int64_t r = 0; r < width; r += 16) {
    Store(running + r, Fma(Load(partial + r), take, Mul(Load(running + r), keep)));
  }
}

// The attended latent: running values over their sum.
void MlaFinish(float* running, int64_t latent) {
  const int64_t width = RoundUp(latent, 16);
  const Vec sum = Set(running[width + 1]);
  for (int64_t r = 0; r < width; r += 16) Store(running + r, Div(Load(running + r), sum));
}

}  // namespace rill::RILL_SIMD_NAMESPACE
