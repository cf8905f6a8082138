// ops/state_export.h — copies of a recurrent state taken at interior positions of a prefill.
//
// Checkpoints fall inside a prompt without splitting the call: an operator that carries a state also writes it out
// after the token counts listed here.
#pragma once

#include <cstdint>

namespace rill {

struct StateExport {
  int64_t after;    // tokens of this call consumed, in 1..T; a list is strictly ascending
  void* state;      // where to: the same shape, type and layout as the operator's state; overlaps nothing
};

}  // namespace rill
