// kernels/cuda/choose.cuh — from router scores to experts and weights, by one warp, for any number of experts and groups.
#pragma once

#include "kernels/cuda/math.cuh"
#include "kernels/ops/router.h"

namespace rill::cuda {

struct Choice {
  RouterActivation activation;
  int top_k, n_groups, topk_groups, n_experts;
  bool renormalize;
  float scaling;
};

// Floats of shared memory Choose() works in: c by expert, then a score by group.
__host__ __device__ inline int ChooseFloats(const Choice& c) { return c.n_experts + c.n_groups; }

// Orders like the float; a NaN lies below every number and above what is taken (0).
__device__ inline uint32_t OrderedKey(float x) {
  if (isnan(x)) return 1;
  const uint32_t bits = __float_as_uint(x + 0.0f);  // -0 counts as 0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The largest key of the warp, the lowest id among equals, in every lane.
__device__ inline void WarpBest(uint32_t& key, int& id) {
  const uint32_t max = __reduce_max_sync(0xffffffffu, key);
  id = static_cast<int>(__reduce_min_sync(0xffffffffu, key == max ? static_cast<uint32_t>(id) : 0x7fffffffu));
  key = max;
}

// logits -> s, in place.
__device__ inline void Activate(const Choice& choice, float* s) {
  const int lane = ThreadId() % kWarp;
  if (choice.activation == RouterActivation::kSigmoid) {
    for (int e = lane; e < choice.n_experts; e += kWarp) s[e] = Sigmoid(s[e]);
    return;
  }
  float max = -INFINITY, sum = 0;
  for (int e = lane; e < choice.n_experts; e += kWarp) max = fmaxf(max, s[e]);
  max = WarpMax(max);
  for (int e = lane; e < choice.n_experts; e += kWarp) sum += s[e] = expf(s[e] - max);
  sum = LaneSum(sum);
  for (int e = lane; e < choice.n_experts; e += kWarp) s[e] /= sum;
}

// The sum of a group's two largest c, or its only one.
__device__ inline float GroupScore(const float* c, int size) {
  float first = -INFINITY, second = -INFINITY;
  for (int e = 0; e < size; ++e) {
    if (c[e] > first) {
      second = first;
      first = c[e];
    } else if (c[e] > second) {
      second = c[e];
    }
  }
  return size == 1 ? first : first + second;
}

// Experts of groups that are not among the best get key 0 by becoming `forbidden`.
__device__ inline bool GroupAllowed(const Choice& choice, const float* group_score, int group) {
  int better = 0;
  for (int other = 0; other < choice.n_groups; ++other) {
    const float a = group_score[other], b = group_score[group];
    if (a > b || (a == b && other < group)) ++better;
  }
  return better < choice.topk_groups;
}

// One whole warp. `s` [E] holds logits and becomes the scores; ids and weights [top_k] are written; all three may lie in shared or
// device memory. `shared` holds ChooseFloats().
__device__ inline void Choose(const Choice& choice, const float* bias, float* s, int* ids, float* weights, float* shared) {
  const int lane = ThreadId() % kWarp, E = choice.n_experts, group_size = E / choice.n_groups;
  float* c = shared;
  float* group_score = shared + E;
  uint32_t* key = reinterpret_cast<uint32_t*>(c);
  Activate(choice, s);
  __syncwarp();
  for (int e = lane; e < E; e += kWarp) c[e] = bias == nullptr ? s[e] : s[e] + bias[e];
  __syncwarp();
  const bool grouped = choice.topk_groups < choice.n_groups;
  if (grouped) {
    for (int g = lane; g < choice.n_groups; g += kWarp) group_score[g] = GroupScore(c + g * group_size, group_size);
    __syncwarp();
  }
  for (int e = lane; e < E; e += kWarp) {
    key[e] = grouped && !GroupAllowed(choice, group_score, e / group_size) ? 0 : OrderedKey(c[e]);
  }
  __syncwarp();
  float sum = 0;
  for (int j = 0; j < choice.top_k; ++j) {
    uint32_t best = 0;
    int where = 0x7fffffff;
    for (int e = lane; e < E; e += kWarp) {
      if (key[e] > best) best = key[e], where = e;
    }
    WarpBest(best, where);
    if (lane == 0) {
      ids[j] = where;
      key[where] = 0;
    }
    sum += s[where];
    __syncwarp();
  }
  for (int j = lane; j < choice.top_k; j += kWarp) {
    float weight = s[ids[j]];
    if (choice.renormalize && choice.top_k > 1) weight /= sum + 1e-20f;
    weights[j] = weight * choice.scaling;
  }
  __syncwarp();
}

}  // namespace rill::cuda
