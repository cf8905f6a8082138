// sample: everything on the device; one answer of a few bytes comes back through pinned memory, behind the one
// synchronisation of a token. Greedy decoding is one small kernel. Drawing sorts the logits, so that top-k, top-p and
// min-p are prefixes.
#include "kernels/ops/sample.h"

#include <cub/device/device_radix_sort.cuh>

#include "kernels/base/philox.h"
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = 1024;  // a warp of warps
static_assert(kThreads == kWarp * kWarp);
constexpr int kParts = 64;  // blocks that look at the logits

struct Part {  // of the logits as given and, for the last three, after bias and penalties
  float max, sum;
  uint32_t best_key;
  int best_id, n_nan, n_forbidden;
};

struct Answer {  // in pinned memory
  int token;
  float logprob;
  int n_nan, n_forbidden;
};

struct Lists {  // in pinned memory, read over the bus: they are short
  const TokenBias* bias;
  const TokenCount* window;
  int n_bias, n_window;
  float repeat, frequency, presence;
};

__global__ void BiasKernel(float* l, Lists lists) {
  for (int i = threadIdx.x; i < lists.n_bias; i += blockDim.x) {
    const TokenBias b = lists.bias[i];
    if (b.value == -INFINITY) {
      l[b.id] = -INFINITY;
    } else {
      atomicAdd(l + b.id, b.value);  // entries for one token add up, -inf stays
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < lists.n_window; i += blockDim.x) {
    const TokenCount seen = lists.window[i];
    float x = l[seen.id];
    x = x > 0 ? x / lists.repeat : x * lists.repeat;
    l[seen.id] = x - (lists.frequency * static_cast<float>(seen.count) + lists.presence);
  }
}

__device__ float Relative(float x, float max) { return x == max ? 1.0f : expf(x - max); }

__device__ Part Join(const Part& a, const Part& b) {
  Part all = a;
  all.max = fmaxf(a.max, b.max);
  all.sum = a.sum * Relative(a.max, all.max) + b.sum * Relative(b.max, all.max);
  if (b.best_key > a.best_key || (b.best_key == a.best_key && b.best_id < a.best_id)) all.best_key = b.best_key, all.best_id = b.best_id;
  all.n_nan += b.n_nan;
  all.n_forbidden += b.n_forbidden;
  return all;
}

// The parts of a warp's lanes joined as a tree, in the first lane.
__device__ Part JoinWarp(Part all) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const auto down = [&](auto x) { return __shfl_down_sync(0xffffffffu, x, offset); };
    const Part other = {down(all.max), down(all.sum), down(all.best_key), down(all.best_id), down(all.n_nan), down(all.n_forbidden)};
    all = Join(all, other);
  }
  return all;
}

// Each block leaves its part; the last one of them joins them. max and log of the sum stay in the first part for the reports that follow. `ticket`
// counts the blocks and is 0 again in the end.
__global__ void __launch_bounds__(kThreads) LookKernel(const float* logits, const float* l, int vocab, Part* parts, unsigned* ticket, Answer* answer) {
  __shared__ Part of_warp[kMaxWarps];
  Part part = {-INFINITY, 0, 0, 0x7fffffff, 0, 0};
  const int stride = gridDim.x * kThreads;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < vocab; i += stride) {
    const float x = l[i];
    part = Join(part, {logits[i], 1.0f, OrderedKey(x), i, isnan(x), x == -INFINITY});
  }
  part = JoinWarp(part);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = part;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  part = JoinWarp(of_warp[threadIdx.x]);
  unsigned taken = 0;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = part;
    __threadfence();
    taken = atomicInc(ticket, gridDim.x - 1);
    __threadfence();
  }
  if (__shfl_sync(0xffffffffu, taken, 0) != gridDim.x - 1) return;
  static_assert(kParts == 2 * kWarp);
  const volatile Part* all_parts = parts;
  const auto read = [&](int i) {
    const volatile Part& p = all_parts[i];
    return Part{p.max, p.sum, p.best_key, p.best_id, p.n_nan, p.n_forbidden};
  };
  Part all = JoinWarp(Join(read(threadIdx.x), read(threadIdx.x + kWarp)));
  if (threadIdx.x != 0) return;
  all.sum = logf(all.sum);
  parts[0] = all;
  const float x = logits[all.best_id];
  *answer = {all.best_id, (x == all.max ? 0.0f : x - all.max) - all.sum, all.n_nan, all.n_forbidden};
}

__global__ void KeyKernel(const float* l, float temperature, uint32_t* keys, int* ids, int vocab) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < vocab; i += gridDim.x * blockDim.x) {
    keys[i] = OrderedKey(l[i] / temperature);
    ids[i] = i;
  }
}

__device__ float KeyValue(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

// Sums of a sorted prefix: every thread owns a run of neighbours, runs are added in ascending order.
struct Prefix {
  const uint32_t* keys;
  float max;
  float* before;  // [kThreads] shared: sum of all runs before a thread's
  int* found;     // shared

  __device__ float Weight(int i) const { return Relative(KeyValue(keys[i]), max); }

  // The sum over [0, n); fills `before`.
  __device__ float Sum(int n) {
    const int run = (n + kThreads - 1) / kThreads;
    float sum = 0;
    for (int i = threadIdx.x * run; i < min(n, (static_cast<int>(threadIdx.x) + 1) * run); ++i) sum += Weight(i);
    before[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      float total = 0;
      for (int t = 0; t < kThreads; ++t) {
        const float mine = before[t];
        before[t] = total;
        total += mine;
      }
      before[kThreads] = total;
    }
    __syncthreads();
    return before[kThreads];
  }

  // The first i whose running sum is >= threshold (> when strict); n - 1 when there is none. After Sum(n).
  __device__ int Crossing(int n, float threshold, bool strict) {
    const int run = (n + kThreads - 1) / kThreads;
    if (threadIdx.x == 0) *found = n - 1;
    __syncthreads();
    float sum = before[threadIdx.x];
    for (int i = threadIdx.x * run; i < min(n, (static_cast<int>(threadIdx.x) + 1) * run); ++i) {
      sum += Weight(i);
      if (strict ? sum > threshold : sum >= threshold) {
        atomicMin(found, i);
        break;
      }
    }
    __syncthreads();
    const int result = *found;
    __syncthreads();
    return result;
  }
};

struct DrawParameters {
  int top_k;
  float top_p, min_p;
  uint64_t seed, position;
};

__global__ void __launch_bounds__(kThreads) DrawKernel(const uint32_t* keys, const int* ids, int vocab, DrawParameters p, const Part* all,
                                                     const float* logits, Answer* answer) {
  __shared__ float before[kThreads + 1];
  __shared__ int found;
  Prefix prefix = {keys, KeyValue(keys[0]), before, &found};
  int kept = p.top_k == 0 ? vocab : min(p.top_k, vocab);
  if (p.top_p < 1.0f) {
    const float sum = prefix.Sum(kept);
    kept = prefix.Crossing(kept, p.top_p * sum, false) + 1;
  }
  if (p.min_p > 0.0f) {
    int low = 1, high = kept;  // weights descend: how many are at least min_p
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (prefix.Weight(middle - 1) >= p.min_p) low = middle;
      else high = middle - 1;
    }
    kept = low;
  }
  const float sum = prefix.Sum(kept);
  const int i = prefix.Crossing(kept, PhiloxUniform(p.seed, p.position) * sum, true);
  if (threadIdx.x != 0) return;
  const float x = logits[ids[i]];
  answer->token = ids[i];
  answer->logprob = (x == all->max ? 0.0f : x - all->max) - all->sum;
}

__global__ void TopKernel(const int* ids, int n, const Part* all, const float* logits, int* top_ids, float* top_logprobs) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const float x = logits[ids[i]];
    top_ids[i] = ids[i];
    top_logprobs[i] = (x == all->max ? 0.0f : x - all->max) - all->sum;
  }
}

// Device scratch of a call.
struct Work {
  float* l;
  Part* parts;
  uint32_t *keys, *sorted_keys;
  int *ids, *sorted_ids;
  void* temporary;
  size_t temporary_bytes;
};

size_t SortBytes(int vocab) {
  size_t bytes = 0;
  cub::DeviceRadixSort::SortPairsDescending(nullptr, bytes, static_cast<const uint32_t*>(nullptr), static_cast<uint32_t*>(nullptr),
                                            static_cast<const int*>(nullptr), static_cast<int*>(nullptr), vocab);
  return bytes;
}

absl::StatusOr<Work> MakeWork(CudaDevice& d, int vocab, bool sorts) {
  const size_t plane = AlignUp(4 * static_cast<uint64_t>(vocab), 256), sort_bytes = sorts ? SortBytes(vocab) : 0;
  const size_t parts = AlignUp(kParts * sizeof(Part), 256);
  RILL_ASSIGN_OR_RETURN(void* scratch, d.Scratch(parts + 5 * plane + sort_bytes));
  char* p = static_cast<char*>(scratch);
  const auto at = [&](int i) { return static_cast<void*>(p + parts + i * plane); };
  return Work{static_cast<float*>(at(0)),    reinterpret_cast<Part*>(p),  static_cast<uint32_t*>(at(1)),
              static_cast<uint32_t*>(at(2)), static_cast<int*>(at(3)),    static_cast<int*>(at(4)), at(5), sort_bytes};
}

absl::Status Sort(CudaDevice& d, const float* l, float temperature, int vocab, Work& work) {
  KeyKernel<<<Blocks(vocab, 256), 256, 0, d.stream()>>>(l, temperature, work.keys, work.ids, vocab);
  return d.Take(cub::DeviceRadixSort::SortPairsDescending(work.temporary, work.temporary_bytes, work.keys, work.sorted_keys,
                                                         work.ids, work.sorted_ids, vocab, 0, 32, d.stream()),
                "sample: sort");
}

// Pinned memory of a call: the answer, the most likely tokens, then the lists.
struct Pinned {
  Answer* answer;
  int* top_ids;
  float* top_logprobs;
  Lists lists;
};

absl::StatusOr<Pinned> MakePinned(CudaDevice& d, const SampleArgs& args) {
  const size_t top = AlignUp(4 * args.top_ids.size(), 64);
  const size_t bias = AlignUp(args.bias.size() * sizeof(TokenBias), 64);
  RILL_ASSIGN_OR_RETURN(void* memory, d.PinnedScratch(4096 + 2 * top + bias + args.window.size() * sizeof(TokenCount)));
  char* p = static_cast<char*>(memory);
  Pinned pinned = {reinterpret_cast<Answer*>(p), reinterpret_cast<int*>(p + 64), reinterpret_cast<float*>(p + 64 + top), {}};
  TokenBias* bias_at = reinterpret_cast<TokenBias*>(p + 64 + 2 * top);
  TokenCount* window_at = reinterpret_cast<TokenCount*>(p + 64 + 2 * top + bias);
  std::copy(args.bias.begin(), args.bias.end(), bias_at);
  std::copy(args.window.begin(), args.window.end(), window_at);
  pinned.lists = {bias_at, window_at, static_cast<int>(args.bias.size()), static_cast<int>(args.window.size()),
                  args.repeat_penalty, args.frequency_penalty, args.presence_penalty};
  return pinned;
}

absl::Status Launch(CudaDevice& d, const SampleArgs& args, const Pinned& pinned) {
  const int vocab = static_cast<int>(args.logits.dim[0]);
  const bool draws = args.temperature > 0;
  RILL_ASSIGN_OR_RETURN(Work work, MakeWork(d, vocab, draws || !args.top_ids.empty()));
  const float* logits = args.logits.f32();
  const float* l = logits;
  if (!args.bias.empty() || !args.window.empty()) {
    RILL_RETURN_IF_ERROR(d.CopyOn(work.l, logits, sizeof(float) * vocab));
    BiasKernel<<<1, kThreads, 0, d.stream()>>>(work.l, pinned.lists);
    l = work.l;
  }
  LookKernel<<<kParts, kThreads, 0, d.stream()>>>(logits, l, vocab, work.parts, d.ticket(), pinned.answer);
  if (draws) {
    RILL_RETURN_IF_ERROR(Sort(d, l, args.temperature, vocab, work));
    DrawKernel<<<1, kThreads, 0, d.stream()>>>(work.sorted_keys, work.sorted_ids, vocab,
                                             {args.top_k, args.top_p, args.min_p, args.seed, args.position}, work.parts,
                                             logits, pinned.answer);
  }
  if (!args.top_ids.empty()) {
    RILL_RETURN_IF_ERROR(Sort(d, logits, 1.0f, vocab, work));
    TopKernel<<<1, kThreads, 0, d.stream()>>>(work.sorted_ids, static_cast<int>(args.top_ids.size()), work.parts, logits,
                                            pinned.top_ids, pinned.top_logprobs);
  }
  return d.Launched("sample");
}

}  // namespace

absl::Status Sample(Device& device, const SampleArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  RILL_ASSIGN_OR_RETURN(const Pinned pinned, MakePinned(d, args));
  RILL_RETURN_IF_ERROR(Launch(d, args, pinned));
  RILL_RETURN_IF_ERROR(d.Synchronize());
  const int64_t vocab = args.logits.dim[0];
  if (pinned.answer->n_nan > 0) {
    return absl::InvalidArgumentError(absl::StrCat("sample.logits: ", pinned.answer->n_nan, " of ", vocab, " are NaN"));
  }
  if (pinned.answer->n_forbidden == vocab) {
    return absl::InvalidArgumentError(absl::StrCat("sample.logits: ", vocab, " of ", vocab, " are -inf"));
  }
  *args.token = pinned.answer->token;
  *args.logprob = pinned.answer->logprob;
  std::copy_n(pinned.top_ids, args.top_ids.size(), args.top_ids.begin());
  std::copy_n(pinned.top_logprobs, args.top_ids.size(), args.top_logprobs.begin());
  return absl::OkStatus();
}

}  // namespace rill::cuda
