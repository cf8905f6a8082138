// tests/model/golden_timeline.h — a golden checkpoint run piece by piece, and how far two runs are
// apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "model/graph/forward.h"
#include "tests/support/golden.h"

namespace rill::test {

inline std::string GoldenFolder(const std::string& name) {
  return std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name;
}

inline int Argmax(const float* logits, size_t n) {
  return static_cast<int>(std::max_element(logits, logits + n) - logits);
}

inline float MaxDifference(const float* a, const float* b, size_t n) {
  float worst = 0;
  for (size_t i = 0; i < n; ++i) {
    const float d = std::fabs(a[i] - b[i]);
    worst = d <= worst ? worst : d;  // a NaN difference is kept: it is not <=
    if (std::isnan(d)) return d;
  }
  return worst;
}

// Mean Kullback-Leibler divergence of `got` from `exact`, both [rows, vocab] logits, in nats per
// token.
inline double MeanKl(const std::vector<float>& exact, const std::vector<float>& got, size_t vocab) {
  double total = 0;
  const size_t rows = exact.size() / vocab;
  const auto log_sum = [vocab](const float* l) {
    const float top = *std::max_element(l, l + vocab);
    double sum = 0;
    for (size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(l[i]) - top);
    return top + std::log(sum);
  };
  for (size_t r = 0; r < rows; ++r) {
    const float *p = &exact[r * vocab], *q = &got[r * vocab];
    const double zp = log_sum(p), zq = log_sum(q);
    for (size_t i = 0; i < vocab; ++i) total += std::exp(p[i] - zp) * ((p[i] - zp) - (q[i] - zq));
  }
  return total / static_cast<double>(rows);
}

// The share of rows whose largest logit is the same token's.
inline double TopOneAgreement(const std::vector<float>& exact, const std::vector<float>& got,
                              size_t vocab) {
  const size_t rows = exact.size() / vocab;
  size_t same = 0;
  for (size_t r = 0; r < rows; ++r)
    same += Argmax(&exact[r * vocab], vocab) == Argmax(&got[r * vocab], vocab);
  return static_cast<double>(same) / static_cast<double>(rows);
}

// A timeline driven piece by piece, keeping the logits of every token.
struct Timeline {
  std::shared_ptr<const Model> model;
  std::unique_ptr<SequenceState> state;
  std::unique_ptr<Forward> forward;
  std::vector<float> logits;

  Timeline(std::shared_ptr<const Model> m, const SessionShape& shape) : model(std::move(m)) {
    auto made = SequenceState::Create(model->device(), model->config(), shape);
    EXPECT_TRUE(made.ok()) << made.status();
    state = *std::move(made);
    auto fwd = Forward::Create(model, *state, shape);
    EXPECT_TRUE(fwd.ok()) << fwd.status();
    forward = *std::move(fwd);
  }

  void Append(absl::Span<const int32_t> ids) {
    const auto keep = [this](int64_t, absl::Span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
    };
    const absl::Status s = forward->Prefill(
        ids, LogitsWanted::kAll, [] { return false; }, keep);
    ASSERT_TRUE(s.ok()) << s;
  }
  void Step(int32_t id) {
    absl::Status s = forward->Step(id);
    const absl::Span<float> row = forward->host_logits();
    if (s.ok() && !model->device().is_host()) {
      s = model->device().CopyOut(row.data(), forward->logits().data, row.size() * sizeof(float));
    }
    ASSERT_TRUE(s.ok()) << s;
    logits.insert(logits.end(), row.begin(), row.end());
  }
  // Pieces of the given lengths; a piece of 1 is a step.
  void Feed(absl::Span<const int32_t> ids, const std::vector<int64_t>& pieces) {
    size_t at = 0;
    for (int64_t n : pieces) {
      if (n == 1) Step(ids[at]);
      if (n > 1) Append(ids.subspan(at, static_cast<size_t>(n)));
      at += static_cast<size_t>(n);
    }
    ASSERT_EQ(at, ids.size());
  }
};

inline std::vector<int64_t> RandomPieces(int64_t total, std::mt19937_64& random) {
  std::vector<int64_t> pieces;
  while (total > 0) {
    const int64_t n = std::min<int64_t>(
        total, 1 + static_cast<int64_t>(random() % (random() % 3 == 0 ? 150 : 5)));
    pieces.push_back(n);
    total -= n;
  }
  return pieces;
}

}  // namespace rill::test
