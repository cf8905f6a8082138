#include "kernels/ops/router.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {
namespace {

void Softmax(float* s, int64_t E) {
  const float max = *std::max_element(s, s + E);
  float sum = 0;
  for (int64_t e = 0; e < E; ++e) sum += s[e] = std::exp(s[e] - max);
  for (int64_t e = 0; e < E; ++e) s[e] /= sum;
}

// Choosing for one token. Nothing is stored: a group's score and rank are worked out where they are
// asked for.
class Choice {
 public:
  Choice(const RouterArgs& args, const float* scores, int64_t E)
      : args_(args),
        scores_(scores),
        bias_(args.bias.f32()),
        E_(E),
        group_size_(E / args.n_groups) {}

  // The allowed expert with the largest c that is not among the first n of `taken`; the lower index
  // on a tie. A NaN never wins against a number, and there is always an answer.
  int32_t Best(const int32_t* taken, int n) const {
    int64_t best = -1;
    for (int64_t e = 0; e < E_; ++e) {
      if (std::find(taken, taken + n, e) != taken + n || !GroupAllowed(e / group_size_)) continue;
      if (best < 0 || std::isnan(c(best)) || c(e) > c(best)) best = e;
    }
    return static_cast<int32_t>(best);
  }

 private:
  float c(int64_t e) const { return bias_ == nullptr ? scores_[e] : scores_[e] + bias_[e]; }

  float GroupScore(int64_t group) const {
    float first = -INFINITY, second = -INFINITY;
    for (int64_t e = group * group_size_; e < (group + 1) * group_size_; ++e) {
      if (c(e) > first) {
        second = first;
        first = c(e);
      } else if (c(e) > second) {
        second = c(e);
      }
    }
    return group_size_ == 1 ? first : first + second;
  }

  bool GroupAllowed(int64_t group) const {
    if (args_.topk_groups == args_.n_groups) return true;
    const float score = GroupScore(group);
    int better = 0;
    for (int64_t other = 0; other < args_.n_groups; ++other) {
      const float other_score = GroupScore(other);
      if (other_score > score || (other_score == score && other < group)) ++better;
    }
    return better < args_.topk_groups;
  }

  const RouterArgs& args_;
  const float* scores_;
  const float* bias_;
  int64_t E_, group_size_;
};

void Weights(const RouterArgs& args, const float* scores, const int32_t* ids, float* weights) {
  float sum = 0;
  for (int j = 0; j < args.top_k; ++j) sum += weights[j] = scores[ids[j]];
  for (int j = 0; j < args.top_k; ++j) {
    if (args.renormalize && args.top_k > 1) weights[j] /= sum + 1e-20f;
    weights[j] *= args.scaling;
  }
}

}  // namespace

absl::Status Router(Device&, const RouterArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t T = args.x.dim[0], D = args.x.dim[1], E = args.weight.rows;
  for (int64_t t = 0; t < T; ++t) {
    float* s = args.scores.f32() + t * E;
    for (int64_t e = 0; e < E; ++e) s[e] = RowDot(args.weight, e, args.x.f32() + t * D);
    if (args.activation == RouterActivation::kSoftmax) {
      Softmax(s, E);
    } else {
      for (int64_t e = 0; e < E; ++e) s[e] = Sigmoid(s[e]);
    }
    int32_t* ids = args.ids.as<int32_t>() + t * args.top_k;
    const Choice choice(args, s, E);
    for (int j = 0; j < args.top_k; ++j) ids[j] = choice.Best(ids, j);
    Weights(args, s, ids, args.weights.f32() + t * args.top_k);
  }
  return absl::OkStatus();
}

}  // namespace rill::ref
