#include "kernels/ops/router.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/status.h"
#include "kernels/cpu/project.h"
#include "kernels/cpu/table.h"

namespace rill::cpu {
namespace {

// Whether c wins against d, which comes earlier in the table. A NaN loses against any number.
bool Beats(float c, float d) { return c > d || (std::isnan(d) && !std::isnan(c)); }

// The choice for one token.
class Choice {
 public:
  Choice(const RouterArgs& args, const float* scores)
      : args_(args),
        scores_(scores),
        bias_(args.bias.f32()),
        group_size_(args.weight.rows / args.n_groups) {}

  // The best top_k experts in descending order, by insertion: a scan beats a sort at this size.
  void Pick(int32_t* ids) const {
    int n = 0;
    for (int64_t group = 0; group < args_.n_groups; ++group) {
      if (!Allowed(group)) continue;
      for (int64_t e = group * group_size_; e < (group + 1) * group_size_; ++e)
        Insert(static_cast<int32_t>(e), ids, &n);
    }
  }

 private:
  float c(int64_t e) const { return bias_ == nullptr ? scores_[e] : scores_[e] + bias_[e]; }

  void Insert(int32_t e, int32_t* ids, int* n) const {
    const float score = c(e);
    if (*n == args_.top_k && !Beats(score, c(ids[*n - 1]))) return;
    int at = *n < args_.top_k ? (*n)++ : *n - 1;
    for (; at > 0 && Beats(score, c(ids[at - 1])); --at) ids[at] = ids[at - 1];
    ids[at] = e;
  }

  float GroupScore(int64_t group) const {
    float first = -INFINITY, second = -INFINITY;
    for (int64_t e = group * group_size_; e < (group + 1) * group_size_; ++e) {
      const float score = c(e);
      second = std::max(second, std::min(first, score));
      first = std::max(first, score);
    }
    return group_size_ == 1 ? first : first + second;
  }

  bool Allowed(int64_t group) const {
    if (args_.topk_groups == args_.n_groups) return true;
    const float score = GroupScore(group);
    int better = 0;
    for (int64_t other = 0; other < args_.n_groups; ++other) {
      const float rival = GroupScore(other);
      if (rival > score || (rival == score && other < group)) ++better;
    }
    return better < args_.topk_groups;
  }

  const RouterArgs& args_;
  const float* scores_;
  const float* bias_;
  int64_t group_size_;
};

void WeighChosen(const RouterArgs& args, const float* scores, const int32_t* ids, float* weights) {
  float sum = 0;
  for (int j = 0; j < args.top_k; ++j) sum += weights[j] = scores[ids[j]];
  for (int j = 0; j < args.top_k; ++j) {
    if (args.renormalize && args.top_k > 1) weights[j] /= sum + 1e-20f;
    weights[j] *= args.scaling;
  }
}

}  // namespace

absl::Status Router(Device& device, const RouterArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t T = args.x.dim[0], E = args.weight.rows;
  const Projection projection = {args.weight, args.scores};
  Project(cpu, args.x, absl::MakeConstSpan(&projection, 1), false);
  cpu.pool()->For(T, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* scores = args.scores.f32() + t * E;
      if (args.activation == RouterActivation::kSigmoid) {
        cpu.isa().sigmoid(scores, E, scores);
      } else {
        cpu.isa().softmax(scores, E);
      }
      int32_t* ids = args.ids.as<int32_t>() + t * args.top_k;
      Choice(args, scores).Pick(ids);
      WeighChosen(args, scores, ids, args.weights.f32() + t * args.top_k);
    }
  });
  return absl::OkStatus();
}

}  // namespace rill::cpu
