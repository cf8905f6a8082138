#include "kernels/ops/sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/base/checked.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/descending.h"
#include "kernels/cpu/table.h"

namespace rill::cpu {
namespace {

constexpr int64_t kBlock = 4096;  // logits of one partial sum
constexpr float kNear = 12.0f;    // e^-12: what lies below has hardly any mass

// exp(x - max), also when both are infinite. Not the C library's exp, whose bits differ from system
// to system.
float Relative(const Isa& isa, float x, float max) {
  return x == max ? 1.0f : isa.sum_exp(&x, max, 1);
}

// sum_i exp(l[i] - max) by blocks of fixed size, added in order of position.
float SumExp(const Isa& isa, const float* l, int64_t n, float max) {
  float sum = 0;
  if (std::isinf(max)) {  // only the infinite ones count
    for (int64_t i = 0; i < n; ++i) sum += l[i] == max ? 1.0f : 0.0f;
    return sum;
  }
  for (int64_t i = 0; i < n; i += kBlock) sum += isa.sum_exp(l + i, max, std::min(kBlock, n - i));
  return sum;
}

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
  int64_t n_nan = 0, n_forbidden = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    n_nan += l[i] != l[i];
    n_forbidden += l[i] == -INFINITY;
  }
  if (n_nan > 0)
    return absl::InvalidArgumentError(
        absl::StrCat("sample.logits: ", n_nan, " of ", vocab, " are NaN"));
  if (n_forbidden < vocab) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sample.logits: ", n_forbidden, " of ", vocab, " are -inf"));
}

// Steps 4 to 8 on logits divided by the temperature. The descending order is walked only as far as
// the filters and the draw ask for; the mass of what lies beyond is in the sum of all.
class Drawing {
 public:
  Drawing(const Isa& isa, const SampleArgs& args, const float* l, int64_t vocab, uint64_t* keys)
      : isa_(isa),
        args_(args),
        l_(l),
        max_(isa.largest(l, vocab)),
        kept_(args.top_k == 0 ? vocab : std::min<int64_t>(args.top_k, vocab)),
        order_(l, vocab, max_, kNear, keys),
        sum_(kept_ < vocab ? SumOfKept() : SumExp(isa, l, vocab, max_)) {}

  int32_t Draw() {
    if (args_.top_p < 1) KeepNucleus();
    if (args_.min_p > 0) KeepLikely();
    const float target = PhiloxUniform(args_.seed, args_.position) * sum_;
    float running = 0;
    for (int64_t i = 0; i < kept_; ++i) {
      running += Weight(i);
      if (running > target) return order_.Id(i);
    }
    return LastWithMass();  // the two sums round differently: u was within that of 1
  }

 private:
  float Weight(int64_t i) { return Relative(isa_, l_[order_.Id(i)], max_); }

  float SumOfKept() {
    float sum = 0;
    for (int64_t i = 0; i < kept_; ++i) sum += Weight(i);
    return sum;
  }

  void KeepNucleus() {
    const float wanted = args_.top_p * sum_;
    float running = 0;
    for (int64_t i = 0; i < kept_; ++i) {
      running += Weight(i);
      if (running >= wanted) kept_ = i + 1;
    }
    sum_ = running;
  }

  void KeepLikely() {
    float running = Weight(0);
    int64_t i = 1;
    for (; i < kept_ && Weight(i) >= args_.min_p; ++i) running += Weight(i);
    kept_ = i;
    sum_ = running;
  }

  int32_t LastWithMass() {
    int64_t i = kept_ - 1;
    while (i > 0 && Weight(i) == 0) --i;
    return order_.Id(i);
  }

  const Isa& isa_;
  const SampleArgs& args_;
  const float* l_;
  float max_;
  int64_t kept_;
  Descending order_;
  float sum_;
};

int32_t Choose(const Isa& isa, const SampleArgs& args, float* l, int64_t vocab, uint64_t* keys) {
  if (args.temperature == 0)
    return static_cast<int32_t>(std::find(l, l + vocab, isa.largest(l, vocab)) - l);
  for (int64_t i = 0; i < vocab; ++i) l[i] /= args.temperature;
  return Drawing(isa, args, l, vocab, keys).Draw();
}

// log softmax of the logits as given, for the token and for the most likely ones.
void Report(const Isa& isa, const SampleArgs& args, const float* logits, int64_t vocab,
            uint64_t* keys) {
  const float max = isa.largest(logits, vocab);
  // In double, where libraries differ far below what is kept of it.
  const float log_sum = static_cast<float>(std::log(double{SumExp(isa, logits, vocab, max)}));
  const auto logprob = [&](int32_t id) {
    return (logits[id] == max ? 0.0f : logits[id] - max) - log_sum;
  };
  *args.logprob = logprob(*args.token);
  if (args.top_ids.empty()) return;
  Descending order(logits, vocab, max, kNear, keys);
  for (size_t i = 0; i < args.top_ids.size(); ++i) {
    args.top_ids[i] = order.Id(static_cast<int64_t>(i));
    args.top_logprobs[i] = logprob(args.top_ids[i]);
  }
}

}  // namespace

absl::Status Sample(Device& device, const SampleArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const Isa& isa = CpuDevice::From(device).isa();
  const int64_t vocab = args.logits.dim[0];
  const float* logits = args.logits.f32();
  float* l = args.workspace.f32();
  uint64_t* keys =
      reinterpret_cast<uint64_t*>(args.workspace.as<char>() + AlignUp(vocab * sizeof(float), 64));
  memcpy(l, logits, sizeof(float) * vocab);
  BiasAndPenalize(args, l);
  RILL_RETURN_IF_ERROR(Refuse(l, vocab));
  *args.token = Choose(isa, args, l, vocab, keys);
  Report(isa, args, logits, vocab, keys);
  return absl::OkStatus();
}

}  // namespace rill::cpu
