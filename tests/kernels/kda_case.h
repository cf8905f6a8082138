// tests/kernels/kda_case.h — inputs of Kimi Delta Attention and their exact answers: the recurrence
// in double.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/ops/kda_chunk.h"
#include "kernels/ops/kda_step.h"
#include "tests/support/random.h"
#include "tests/support/rig.h"

namespace rill::test {

struct KdaCase {
  int64_t T, H, K, V;
  float scale;
  std::vector<float> q, k, v, g, beta, state;
};

enum class Gates {
  kMild,
  kStrong,
  kMixed
};  // decays near 1; near exp(-60); anything between, channel by channel

inline KdaCase MakeKdaCase(Random& random, int64_t T, int64_t H, int64_t K, int64_t V,
                           Gates gates = Gates::kMild) {
  KdaCase c = {T, H, K, V, 1 / std::sqrt(static_cast<float>(K)), {}, {}, {}, {}, {}, {}};
  c.q = random.UnitRows(T * H, K);
  c.k = random.UnitRows(T * H, K);
  c.v = random.Normal(T * H * V);
  c.g = random.Floats(T * H * K, -0.2f, 0);
  for (float& g : c.g) {
    if (gates == Gates::kStrong) g = random.Uniform(-62, -58);
    if (gates == Gates::kMixed) g = -std::exp(random.Uniform(-6, 4.5f));
  }
  c.beta = random.Floats(T * H, 0.01f, 1);
  c.state = random.Normal(H * K * V, 0.5f);
  return c;
}

// Every token writes along the same direction: the matrix of kda_chunk is then as far from the
// identity as it gets.
inline void MakeKeysIdentical(KdaCase& c) {
  for (int64_t t = 1; t < c.T; ++t) {
    for (int64_t i = 0; i < c.H * c.K; ++i) c.k[t * c.H * c.K + i] = c.k[i];
  }
  for (float& beta : c.beta) beta = 1;
}

struct KdaAnswer {
  std::vector<double> out, u, state;        // [T, H, V], [T, H, V], [H, K, V] after the last token
  std::vector<std::vector<double>> states;  // after each token
};

// The recurrence of ops/kda_step.h, token by token.
inline KdaAnswer Recurrence(const KdaCase& c) {
  KdaAnswer answer;
  answer.out.resize(c.T * c.H * c.V);
  answer.u.resize(c.T * c.H * c.V);
  answer.state.assign(c.state.begin(), c.state.end());
  for (int64_t t = 0; t < c.T; ++t) {
    for (int64_t h = 0; h < c.H; ++h) {
      const int64_t row = t * c.H + h;
      double* S = answer.state.data() + h * c.K * c.V;
      const float *q = &c.q[row * c.K], *k = &c.k[row * c.K], *g = &c.g[row * c.K];
      for (int64_t j = 0; j < c.V; ++j) {
        double predicted = 0;
        for (int64_t i = 0; i < c.K; ++i)
          predicted += k[i] * (S[i * c.V + j] *= std::exp(double{g[i]}));
        const double u = c.beta[row] * (c.v[row * c.V + j] - predicted);
        double read = 0;
        for (int64_t i = 0; i < c.K; ++i) read += q[i] * (S[i * c.V + j] += k[i] * u);
        answer.u[row * c.V + j] = u;
        answer.out[row * c.V + j] = c.scale * read;
      }
    }
    answer.states.push_back(answer.state);
  }
  return answer;
}

struct KdaTensors {
  TensorView q, k, v, g, beta, state, out;
};

inline KdaTensors Place(Rig& rig, const KdaCase& c) {
  return {rig.In(c.q, {c.T, c.H, c.K}), rig.In(c.k, {c.T, c.H, c.K}),
          rig.In(c.v, {c.T, c.H, c.V}), rig.In(c.g, {c.T, c.H, c.K}),
          rig.In(c.beta, {c.T, c.H}),   rig.In(c.state, {c.H, c.K, c.V}),
          rig.Out({c.T, c.H, c.V})};
}

inline KdaStepArgs StepArgs(const KdaCase& c, const KdaTensors& x, int64_t t) {
  return {c.scale,
          x.q.Rows(t, 1),
          x.k.Rows(t, 1),
          x.v.Rows(t, 1),
          x.g.Rows(t, 1),
          x.beta.Rows(t, 1),
          x.state,
          x.out.Rows(t, 1),
          {},
          t};
}

inline KdaChunkArgs ChunkArgs(const KdaCase& c, const KdaTensors& x, const TensorView& workspace) {
  return {c.scale, x.q, x.k, x.v, x.g, x.beta, x.state, x.out, {}, {}, 0, workspace};
}

inline KdaRing MakeRing(Rig& rig, const KdaCase& c, int64_t R) {
  return {rig.Out({R, c.H, c.K}), rig.Out({R, c.H, c.V}), rig.Out({R, c.H, c.K})};
}

}  // namespace rill::test
