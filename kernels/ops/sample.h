// ops/sample.h — logits to a token.
//
// In this order, each step on the result of the one before:
//   1. bias        l[id] += value                                  for every listed (id, value); -inf forbids a token
//   2. penalties   for every listed (id, count) of the window: l = l > 0 ? l / repeat : l * repeat, then
//                  l -= frequency * count + presence
//   3. temperature 0: the largest l, the lowest id on a tie, and we are done; else l /= temperature
//   4. top-k       keep the k largest (0: all); a tie goes to the lower id
//   5. softmax over what is kept, in descending order
//   6. top-p       keep the shortest prefix whose probability reaches p (1: all); at least one token
//   7. min-p       drop what is below min_p times the largest probability (0: none)
//   8. draw        u = Philox(seed, position) in [0, 1); the first token whose running sum exceeds u * (sum kept)
// The log-probabilities reported are of the model itself: log softmax of the logits as given, before step 1.
// Specification: kernels/ref/sample.cc. Source of the generator: kernels/base/philox.h.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"

namespace rill {

struct TokenBias {
  int32_t id;
  float value;
};

struct TokenCount {
  int32_t id;       // distinct within a list
  int32_t count;    // >= 1
};

struct SampleArgs {
  float temperature = 0;        // >= 0
  int32_t top_k = 0;            // 0: all
  float top_p = 1;              // in (0, 1]
  float min_p = 0;              // in [0, 1]
  float repeat_penalty = 1;     // > 0
  float frequency_penalty = 0;
  float presence_penalty = 0;
  absl::Span<const TokenCount> window;
  absl::Span<const TokenBias> bias;
  uint64_t seed = 0;
  uint64_t position = 0;        // of the token being drawn

  TensorView logits;            // [vocab] f32  read only
  TensorView workspace;         // [>= SampleWorkspaceBytes(vocab)] u8, 64-byte aligned; host memory
  int32_t* token = nullptr;     // out
  float* logprob = nullptr;     // out: of `token`
  absl::Span<int32_t> top_ids;  // out, optional: the n most likely ids, descending
  absl::Span<float> top_logprobs;  // out: same length
};

// InvalidArgument also when a logit is NaN or all are -inf after step 1: the sentence names how many.
absl::Status Check(const SampleArgs& args);

uint64_t SampleWorkspaceBytes(int64_t vocab);

}  // namespace rill
