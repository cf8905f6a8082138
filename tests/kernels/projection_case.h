// tests/kernels/projection_case.h — random projections and their exact sums, shared by matvec and
// matmul.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/ops/matvec.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/rig.h"

namespace rill::test {

struct ProjectionCase {
  int64_t T, K;
  WeightFormat format;
  std::vector<float> x;
  std::vector<int64_t> rows;
  std::vector<std::vector<float>> weights;  // as given to the encoder
};

inline ProjectionCase MakeProjectionCase(Random& random, int64_t T, int64_t K,
                                         std::vector<int64_t> rows, WeightFormat format) {
  ProjectionCase c = {T, K, format, random.Normal(T * K), std::move(rows), {}};
  for (const int64_t N : c.rows) c.weights.push_back(random.Normal(N * K, 0.05f));
  return c;
}

inline std::vector<Projection> PlaceProjections(Rig& rig, const ProjectionCase& c) {
  std::vector<Projection> projections;
  for (size_t i = 0; i < c.rows.size(); ++i) {
    projections.push_back(
        {rig.Matrix(c.format, c.weights[i], c.rows[i], c.K), rig.Out({c.T, c.rows[i]})});
  }
  return projections;
}

// Each element within tolerance * sqrt(sum of its squared terms): the error a float32 sum of K
// terms may have, whatever cancels. `i` is the matrix.
inline ::testing::AssertionResult CloseToSum(const std::vector<float>& got, const ProjectionCase& c,
                                             size_t i, double tolerance) {
  const int64_t N = c.rows[i];
  const std::vector<float> weight = Rounded(c.format, c.weights[i], N, c.K);
  for (int64_t t = 0; t < c.T; ++t) {
    for (int64_t n = 0; n < N; ++n) {
      double sum = 0, squares = 0;
      for (int64_t k = 0; k < c.K; ++k) {
        const double term = double{c.x[t * c.K + k]} * weight[n * c.K + k];
        sum += term;
        squares += term * term;
      }
      const double limit = tolerance * std::sqrt(squares) + 1e-30;
      if (std::fabs(got[t * N + n] - sum) <= limit) continue;
      return ::testing::AssertionFailure() << "[" << t << ", " << n << "]: got " << got[t * N + n]
                                           << ", expected " << sum << ", limit " << limit;
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace rill::test
