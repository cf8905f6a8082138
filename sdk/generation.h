// sdk/generation.h — one reply being produced: tokens pulled by the caller, text that is always whole.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sdk/session.h"

namespace rill {

enum class FinishReason : uint8_t { kNone = 0, kStopToken = 1, kStopString = 2, kMaxTokens = 3, kContextFull = 4 };

struct GenerationParams {
  SamplingParams sampling;
  std::vector<int32_t> stop_tokens;        // beside the model's own (see use_model_stops)
  bool use_model_stops = true;             // <|im_end|>, [EOS], [EOT]; without a tokenizer the config's eos_token
  std::vector<std::string> stop_strings;   // limits of sdk/stop.h; the text ends before the first match
  uint64_t max_tokens = UINT64_MAX;
  uint32_t top_logprobs = 0;               // 0..20 alternatives reported per token
};

struct TokenProb {
  int32_t id;
  float logprob;
};

// One event per call of Next. `text` holds only whole UTF-8 characters that can no longer be part of a stop string; it
// may be empty, and special tokens have none. Spans are valid until the next call.
struct GenerationEvent {
  enum class Kind : uint8_t { kToken = 0, kEnd = 1 };
  Kind kind;
  int32_t id = -1;                         // kToken: the token that was sampled and fed; kEnd: see Next
  float logprob = 0;
  uint64_t position = 0;                   // of that token in the session
  std::string_view text;                   // kEnd: what was held back and turned out to be text
  absl::Span<const TokenProb> top;
  FinishReason finish = FinishReason::kNone;   // kEnd only
};

class Generation {  // One caller at a time, the session's. Borrows the session.
 public:
  // InvalidArgument names the parameter; FailedPrecondition when the session has no logits or another generation is
  // open on it; Aborted when it is busy. A model without tokenizer generates tokens with empty text and takes no stop
  // strings.
  static absl::StatusOr<std::unique_ptr<Generation>> Begin(Session& session, const GenerationParams& params);
  // Goes on with the reply that was open when this timeline was saved, forked or taken as a snapshot: same parameters, the
  // text held back, the tokens counted. FailedPrecondition when there was none, or the session has moved since; else
  // errors as Begin.
  static absl::StatusOr<std::unique_ptr<Generation>> Resume(Session& session);
  ~Generation();

  // Samples one token and feeds it, at most one decode step. A stop token is reported in the kEnd event's `id` and is
  // NOT fed, so that the session ends with the reply's last token. A token that completes a stop string is fed, and the
  // call after it ends; text that turns out to hold a stop string makes kStopString of any end. After kEnd, further
  // calls repeat it without text.
  // Cancelled: Next may be called again to go on as if nothing had happened; a token that was fed by then is its event.
  // Allocates nothing after the first calls.
  absl::StatusOr<GenerationEvent> Next();

 private:
  friend class Session;
  friend struct Session::Impl;
  struct Impl;
  explicit Generation(std::unique_ptr<Impl> impl);
  static absl::StatusOr<std::unique_ptr<Generation>> Start(Session& session, std::unique_ptr<Impl> impl);
  std::string Save() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rill
