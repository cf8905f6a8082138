#include "kernels/ref/mla_row.h"

#include <algorithm>
#include <cmath>

#include "kernels/ref/scalar.h"

namespace rill::ref {
namespace {

// softmax-weighted latents of the rows seen so far: values are relative to exp(max).
struct Running {
  float max = -INFINITY;
  float sum = 0;
  float* latent;  // [R]
};

float CacheValue(const MlaCacheView& cache, int64_t token, int64_t i) {
  const void* row = cache.row(token);
  return cache.dtype == DType::kBf16 ? ToFloat(static_cast<const Bf16*>(row)[i])
                                     : static_cast<const float*>(row)[i];
}

// q~ = W_K^T q, n ascending; rows [first, first + N) of kv_b are W_K.
void AbsorbQuery(const MatrixView& kv_b, int64_t first, const float* q, int64_t N,
                 float* absorbed) {
  std::fill(absorbed, absorbed + kv_b.cols, 0.0f);
  float weights[kGroup];
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t group = 0; group < GroupsPerRow(kv_b.cols); ++group) {
      const int count = DecodeGroup(kv_b, first + n, group, weights);
      for (int i = 0; i < count; ++i) absorbed[group * kGroup + i] += weights[i] * q[n];
    }
  }
}

// (q~ . latent + q_rope . key) * scale as one sum over the row.
float Score(const MlaRow& row, const float* absorbed, const float* q_rope, int64_t token) {
  const int64_t R = row.shape.latent, P = row.shape.rope;
  float sum = 0;
  for (int64_t r = 0; r < R; ++r) sum += absorbed[r] * CacheValue(row.cache, token, r);
  for (int64_t p = 0; p < P; ++p) sum += q_rope[p] * CacheValue(row.cache, token, R + p);
  return sum * row.scale;
}

// The split [begin, end): its scores are in s and become its weights.
void Weigh(const MlaRow& row, int64_t begin, int64_t end, float* s, Running* split) {
  const int64_t R = row.shape.latent;
  split->max = *std::max_element(s, s + (end - begin));
  split->sum = 0;
  std::fill(split->latent, split->latent + R, 0.0f);
  for (int64_t t = begin; t < end; ++t) {
    const float weight = std::exp(s[t - begin] - split->max);
    split->sum += weight;
    for (int64_t r = 0; r < R; ++r) split->latent[r] += weight * CacheValue(row.cache, t, r);
  }
}

void Combine(const Running& split, int64_t R, Running* total) {
  const float max = std::max(total->max, split.max);
  const float keep = std::exp(total->max - max), take = std::exp(split.max - max);
  total->max = max;
  total->sum = total->sum * keep + split.sum * take;
  for (int64_t r = 0; r < R; ++r)
    total->latent[r] = total->latent[r] * keep + split.latent[r] * take;
}

void AttendHead(const MlaRow& row, int64_t h) {
  const MlaShape& shape = row.shape;
  const int64_t N = shape.nope, R = shape.latent, V = shape.value;
  const int64_t kv_row = h * (N + V);
  const float* q = row.q + h * (N + shape.rope);
  float* absorbed = row.workspace;
  Running total, split;
  total.latent = absorbed + R;
  split.latent = total.latent + R;
  float* s = split.latent + R;

  AbsorbQuery(row.kv_b, kv_row, q, N, absorbed);
  std::fill(total.latent, total.latent + R, 0.0f);
  for (int64_t begin = 0; begin < row.length; begin += kMlaSplitTokens) {
    const int64_t end = std::min(begin + kMlaSplitTokens, row.length);
    for (int64_t t = begin; t < end; ++t) s[t - begin] = Score(row, absorbed, q + N, t);
    Weigh(row, begin, end, s, &split);
    Combine(split, R, &total);
  }
  for (int64_t r = 0; r < R; ++r) total.latent[r] /= total.sum;
  for (int64_t v = 0; v < V; ++v)
    row.out[h * V + v] = RowDot(row.kv_b, kv_row + N + v, total.latent);
}

}  // namespace

void AttendRow(const MlaRow& row) {
  for (int64_t h = 0; h < row.shape.n_heads; ++h) AttendHead(row, h);
}

}  // namespace rill::ref
