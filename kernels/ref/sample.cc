#include "kernels/ops/sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/checked.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "kernels/ref/table.h"

namespace rill::ref {
namespace {

// Descending by value, the lower id on a tie.
struct Descending {
  const float* l;
  bool operator()(int32_t a, int32_t b) const { return l[a] > l[b] || (l[a] == l[b] && a < b); }
};

// Steps 1 and 2.
void BiasAndPenalize(const SampleArgs& args, float* l) {
  for (const TokenBias& bias : args.bias) {
    l[bias.id] = bias.value == -INFINITY ? -INFINITY : l[bias.id] + bias.value;
  }
  for (const TokenCount& seen : args.window) {
    float& x = l[seen.id];
    x = x > 0 ? x / args.repeat_penalty : x * args.repeat_penalty;
    x -= args.frequency_penalty * static_cast<float>(seen.count) + args.presence_penalty;
  }
}

absl::Status Refuse(const float* l, int64_t vocab) {
  const auto n_nan = std::count_if(l, l + vocab, [](float x) { return std::isnan(x); });
  if (n_nan > 0)
    return absl::InvalidArgumentError(
        absl::StrCat("sample.logits: ", n_nan, " of ", vocab, " are NaN"));
  const auto n_forbidden = std::count(l, l + vocab, -INFINITY);
  if (n_forbidden < vocab) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sample.logits: ", n_forbidden, " of ", vocab, " are -inf"));
}

// exp(x - max), also when both are infinite.
float Relative(float x, float max) { return x == max ? 1.0f : std::exp(x - max); }

// A sum of up to a vocabulary of terms, by blocks of 1024: one float32 sum in a row would lose the
// small terms of the tail, 2e-4 of all probability at 163840 tokens.
class BlockSum {
 public:
  void Add(float x) {
    block_ += x;
    if (++n_ % 1024 != 0) return;
    done_ += block_;
    block_ = 0;
  }
  float value() const { return done_ + block_; }

 private:
  float done_ = 0, block_ = 0;
  int64_t n_ = 0;
};

// Steps 4 to 7: orders the tokens and returns how many are kept; `l` holds logits divided by the
// temperature and becomes exp(l - largest) for the tokens that survived step 4.
int64_t Filter(const SampleArgs& args, float* l, int32_t* order, int64_t vocab) {
  int64_t kept = args.top_k == 0 ? vocab : std::min<int64_t>(args.top_k, vocab);
  std::partial_sort(order, order + kept, order + vocab, Descending{l});
  const float max = l[order[0]];
  BlockSum sum, running;
  for (int64_t i = 0; i < kept; ++i) sum.Add(l[order[i]] = Relative(l[order[i]], max));
  for (int64_t i = 0; i < kept && args.top_p < 1; ++i) {
    running.Add(l[order[i]]);
    if (running.value() >= args.top_p * sum.value()) kept = i + 1;
  }
  while (kept > 1 && l[order[kept - 1]] < args.min_p) --kept;
  return kept;
}

// Step 8: `p` are the weights of the kept tokens, not normalised.
int32_t Draw(const SampleArgs& args, const float* p, const int32_t* order, int64_t kept) {
  BlockSum sum, running;
  for (int64_t i = 0; i < kept; ++i) sum.Add(p[order[i]]);
  const float target = PhiloxUniform(args.seed, args.position) * sum.value();
  for (int64_t i = 0; i < kept; ++i) {
    running.Add(p[order[i]]);
    if (running.value() > target) return order[i];
  }
  return order[0];  // not reached: the last running sum is `sum`, and u < 1
}

int32_t Choose(const SampleArgs& args, float* l, int32_t* order, int64_t vocab) {
  if (args.temperature == 0) return static_cast<int32_t>(std::max_element(l, l + vocab) - l);
  for (int64_t i = 0; i < vocab; ++i) l[i] /= args.temperature;
  std::iota(order, order + vocab, 0);
  return Draw(args, l, order, Filter(args, l, order, vocab));
}

// log softmax of the logits as given, for the token and for the most likely ones.
void Report(const SampleArgs& args, const float* logits, int32_t* order, int64_t vocab) {
  const float max = *std::max_element(logits, logits + vocab);
  BlockSum sum;
  for (int64_t i = 0; i < vocab; ++i) sum.Add(Relative(logits[i], max));
  const float log_sum = std::log(sum.value());
  const auto logprob = [&](int32_t id) {
    return (logits[id] == max ? 0.0f : logits[id] - max) - log_sum;
  };
  *args.logprob = logprob(*args.token);
  std::iota(order, order + vocab, 0);
  std::partial_sort(order, order + args.top_ids.size(), order + vocab, Descending{logits});
  for (size_t i = 0; i < args.top_ids.size(); ++i) {
    args.top_ids[i] = order[i];
    args.top_logprobs[i] = logprob(order[i]);
  }
}

}  // namespace

absl::Status Sample(Device&, const SampleArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const int64_t vocab = args.logits.dim[0];
  const float* logits = args.logits.f32();
  float* l = args.workspace.f32();
  int32_t* order =
      reinterpret_cast<int32_t*>(args.workspace.as<char>() + AlignUp(vocab * sizeof(float), 64));
  std::copy(logits, logits + vocab, l);
  BiasAndPenalize(args, l);
  RILL_RETURN_IF_ERROR(Refuse(l, vocab));
  *args.token = Choose(args, l, order, vocab);
  Report(args, logits, order, vocab);
  return absl::OkStatus();
}

}  // namespace rill::ref
