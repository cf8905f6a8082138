// sdk/tools/eval.h — the two commands of rill-eval.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "kernels/base/dtype.h"
#include "model/model.h"

namespace rill::tools {

struct EvalOptions {
  DType mla_dtype = DType::kF32;  // of the cache rows; every digit, unless asked otherwise
  int64_t prefill_chunk = 256;    // tokens of one prefill pass
};

struct LogitsOptions : EvalOptions {
  std::string ids_path;
  std::string out_path;
  int64_t prefill = -1;  // tokens of the one append, the others are steps; -1: all of them
};

// Writes one row of float32 logits per token to `out_path`, little-endian, [tokens, vocab]. The
// file is whole or not there. InvalidArgument quotes a bad token and names the file.
absl::Status WriteLogits(std::shared_ptr<const Model> model, const LogitsOptions& options);

struct PerplexityOptions : EvalOptions {
  std::string text_path;
  int64_t window =
      512;  // tokens of context; every window starts afresh and does not score its first token
};

struct Perplexity {
  double mean_nll = 0;  // nats per scored token
  int64_t tokens = 0;   // of the text
  int64_t scored = 0;
  int64_t windows = 0;
  uint64_t text_bytes = 0;
};

// FailedPrecondition when the model has no tokenizer; InvalidArgument when the text has fewer than
// two tokens.
absl::StatusOr<Perplexity> MeasurePerplexity(std::shared_ptr<const Model> model,
                                             const PerplexityOptions& options);

// -log softmax(logits)[id], in float64.
double NegativeLogLikelihood(absl::Span<const float> logits, int32_t id);

}  // namespace rill::tools
