// tests/kernels/mla_case.h — inputs of latent attention and their exact answer, computed the
// unabsorbed way.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/ops/mla_decode.h"
#include "kernels/ops/mla_prefill.h"
#include "tests/support/random.h"
#include "tests/support/rig.h"

namespace rill::test {

struct MlaCase {
  MlaShape shape;  // n_heads, nope, rope, value, latent
  float scale;
  int64_t T, position;
  WeightFormat format;
  DType dtype;
  std::vector<float> q, kv_b,
      rows;  // rows: the whole cache [position + T, R + P], exact in `dtype`

  int64_t length() const { return position + T; }
  int64_t kv_rows() const { return shape.n_heads * (shape.nope + shape.value); }
};

inline MlaCase MakeMlaCase(Random& random, const MlaShape& shape, int64_t T, int64_t position,
                           WeightFormat format, DType dtype, float sharpness = 1) {
  MlaCase c = {shape,  1 / std::sqrt(static_cast<float>(shape.nope + shape.rope)),
               T,      position,
               format, dtype,
               {},     {},
               {}};
  c.q = random.Normal(T * shape.n_heads * (shape.nope + shape.rope), sharpness);
  c.kv_b =
      random.Normal(c.kv_rows() * shape.latent, 1 / std::sqrt(static_cast<float>(shape.latent)));
  c.rows = random.Normal(c.length() * (shape.latent + shape.rope));
  if (dtype == DType::kBf16) {
    for (float& x : c.rows) x = ToFloat(ToBf16(x));
  }
  return c;
}

// Keys and values of every token are expanded through kv_b, then attended to as in any transformer.
inline std::vector<double> ExpectedAttention(const MlaCase& c) {
  const auto& [H, N, P, V, R] = c.shape;
  const std::vector<float> kv_b = Rounded(c.format, c.kv_b, c.kv_rows(), R);
  std::vector<double> out(c.T * H * V);
  for (int64_t h = 0; h < H; ++h) {
    std::vector<double> expanded(c.length() * (N + V));
    for (int64_t s = 0; s < c.length(); ++s) {
      for (int64_t n = 0; n < N + V; ++n) {
        for (int64_t r = 0; r < R; ++r) {
          expanded[s * (N + V) + n] +=
              double{kv_b[(h * (N + V) + n) * R + r]} * c.rows[s * (R + P) + r];
        }
      }
    }
    for (int64_t t = 0; t < c.T; ++t) {
      const float* q = &c.q[(t * H + h) * (N + P)];
      const int64_t visible = c.position + t + 1;
      std::vector<double> p(visible);
      double max = -INFINITY, sum = 0;
      for (int64_t s = 0; s < visible; ++s) {
        for (int64_t n = 0; n < N; ++n) p[s] += q[n] * expanded[s * (N + V) + n];
        for (int64_t i = 0; i < P; ++i) p[s] += double{q[N + i]} * c.rows[s * (R + P) + R + i];
        p[s] *= c.scale;
        max = std::max(max, p[s]);
      }
      for (double& x : p) sum += x = std::exp(x - max);
      for (int64_t s = 0; s < visible; ++s) {
        for (int64_t v = 0; v < V; ++v)
          out[(t * H + h) * V + v] += p[s] / sum * expanded[s * (N + V) + N + v];
      }
    }
  }
  return out;
}

inline MlaPrefillArgs PrefillArgs(Rig& rig, const MlaCase& c) {
  const MlaShape& s = c.shape;
  const MlaCacheView cache = rig.Cache(c.dtype, s.latent, s.rope, c.length(), 2, 1);
  rig.WriteCacheRows(cache, c.rows);
  return {s,
          c.scale,
          rig.In(c.q, {c.T, s.n_heads, s.nope + s.rope}),
          rig.Matrix(c.format, c.kv_b, c.kv_rows(), s.latent),
          cache,
          c.position,
          rig.Out({c.T, s.n_heads, s.value}),
          rig.Workspace(MlaWorkspaceBytes(s, c.T, c.length()))};
}

// Row t of a prefill as a decode of its own, with an output and a workspace of its own.
inline MlaDecodeArgs DecodeArgs(Rig& rig, const MlaPrefillArgs& p, int64_t t) {
  const int64_t length = p.position + t + 1;
  return {p.shape,
          p.scale,
          p.q.Rows(t, 1),
          p.kv_b,
          p.cache,
          length,
          rig.Out({1, p.shape.n_heads, p.shape.value}),
          rig.Workspace(MlaWorkspaceBytes(p.shape, 1, length))};
}

}  // namespace rill::test
