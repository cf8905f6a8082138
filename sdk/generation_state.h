// sdk/generation_state.h — a reply in the middle, as bytes: what a session file, a fork and a snapshot carry of it.
//
// Little-endian, version first; lengths before contents. Reading trusts nothing: every number is checked against what is
// left and against the limits of its field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "sdk/generation.h"
#include "sdk/stop.h"

namespace rill {

struct GenerationState {
  GenerationParams params;
  std::string utf8_pending;     // bytes of a character that is not whole yet
  StopFilter::State stop;       // text held back
  uint64_t n_fed = 0;           // tokens of the reply so far
  bool ended = false;           // the last event is its kEnd
  FinishReason finish = FinishReason::kNone;
  bool undelivered = false;     // a cancellation came between the last event and the caller: these are its parts
  int32_t id = -1;
  float logprob = 0;
  uint64_t position = 0;
  std::string text;
};

std::string Encode(const GenerationState& state);
// DataLoss names the field and both numbers.
absl::StatusOr<GenerationState> DecodeGenerationState(std::string_view bytes);

}  // namespace rill
