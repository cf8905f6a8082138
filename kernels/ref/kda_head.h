// kernels/ref/kda_head.h — one head of one KDA token, shared by kda_step, kda_chunk and kda_replay
// so that their bits agree. S is [K, V]; sums over K run in ascending order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/ops/kda_step.h"

namespace rill::ref {

inline constexpr int64_t kMaxHeadDim = 256;

// S' = diag(exp(g)) S
inline void Decay(const float* g, int64_t K, int64_t V, float* S) {
  for (int64_t i = 0; i < K; ++i) {
    const float decay = std::exp(g[i]);
    for (int64_t j = 0; j < V; ++j) S[i * V + j] *= decay;
  }
}

// S = S' + k u^T
inline void Write(const float* k, const float* u, int64_t K, int64_t V, float* S) {
  for (int64_t i = 0; i < K; ++i) {
    for (int64_t j = 0; j < V; ++j) S[i * V + j] += k[i] * u[j];
  }
}

// y = S^T x
inline void Read(const float* x, const float* S, int64_t K, int64_t V, float* y) {
  std::fill(y, y + V, 0.0f);
  for (int64_t i = 0; i < K; ++i) {
    for (int64_t j = 0; j < V; ++j) y[j] += x[i] * S[i * V + j];
  }
}

inline void Advance(const float* k, const float* u, const float* g, int64_t K, int64_t V,
                    float* S) {
  Decay(g, K, V, S);
  Write(k, u, K, V, S);
}

struct KdaHeadToken {
  float scale, beta;
  const float *q, *k, *v, *g;  // [K], [K], [V], [K]
  float* out;                  // [V] may be v
};

// One token; leaves the delta in u [V].
inline void StepHead(const KdaHeadToken& token, int64_t K, int64_t V, float* S, float* u) {
  Decay(token.g, K, V, S);
  Read(token.k, S, K, V, u);
  for (int64_t j = 0; j < V; ++j) u[j] = token.beta * (token.v[j] - u[j]);
  Write(token.k, u, K, V, S);
  Read(token.q, S, K, V, token.out);
  for (int64_t j = 0; j < V; ++j) token.out[j] *= token.scale;
}

// Token t of a call, all heads. Args is KdaStepArgs or KdaChunkArgs; `record` asks for its slot of
// the ring.
template <typename Args>
void StepToken(const Args& args, int64_t t, bool record) {
  const int64_t H = args.state.dim[0], K = args.state.dim[1], V = args.state.dim[2];
  float u[kMaxHeadDim];
  for (int64_t h = 0; h < H; ++h) {
    const int64_t row = t * H + h;
    const KdaHeadToken token = {args.scale,
                                args.beta.f32()[row],
                                args.q.f32() + row * K,
                                args.k.f32() + row * K,
                                args.v.f32() + row * V,
                                args.g.f32() + row * K,
                                args.out.f32() + row * V};
    StepHead(token, K, V, args.state.f32() + h * K * V, u);
    if (!record) continue;
    const int64_t slot = (args.position + t) % args.ring.k.dim[0] * H + h;
    std::copy(token.k, token.k + K, args.ring.k.f32() + slot * K);
    std::copy(u, u + V, args.ring.u.f32() + slot * V);
    std::copy(token.g, token.g + K, args.ring.g.f32() + slot * K);
  }
}

}  // namespace rill::ref
