// sdk/session_extras.h — what a session file carries beside tokens and states, as bytes: how the session was shaped, and
// the reply that was open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace rill {

struct SavedShape {
  int64_t max_tokens = 0, prefill_chunk = 0, rewind_window = 0, ladder_slots = 0;
};

struct SessionExtras {
  SavedShape shape;
  std::string generation;   // sdk/generation_state.h; empty when none was open
};

std::string EncodeExtras(const SavedShape& shape, std::string_view generation);
// DataLoss names the field and both numbers. The numbers are not checked against a model.
absl::StatusOr<SessionExtras> DecodeExtras(std::string_view bytes);

}  // namespace rill
