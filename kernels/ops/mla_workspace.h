// kernels/ops/mla_workspace.h — how host devices lay out the workspace of mla_decode and
// mla_prefill.
//
// All (query, head) pairs read the same cache rows, so a block of queries is worked on as one list
// of pairs, in floats:
//   absorbed   [pairs][query]     the absorbed query, its rope part behind it
//   running    [pairs][partial]   the splits joined so far: weighted latent, then maximum, then sum
//   partials   [slots][partial]   splits computed in parallel, to be joined in order of position
// The size is bounded: it grows with neither the threads nor, past a few thousand tokens, the
// context.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/checked.h"
#include "kernels/ops/mla_decode.h"

namespace rill {

struct MlaWorkspaceLayout {
  static constexpr int64_t kMaxPairs = 512, kMaxSlots = 2048;

  int64_t queries;  // of a block
  int64_t pairs;    // of a block
  int64_t query;    // floats of an absorbed query
  int64_t partial;  // floats of a partial
  int64_t slots;    // partials that have room at once, at least `pairs`

  uint64_t bytes() const {
    return sizeof(float) * (static_cast<uint64_t>(pairs) * (query + partial) +
                            static_cast<uint64_t>(slots) * partial + kMlaSplitTokens);
  }
};

constexpr MlaWorkspaceLayout MakeMlaWorkspaceLayout(const MlaShape& shape, int64_t n_tokens,
                                                    int64_t length) {
  MlaWorkspaceLayout layout{};
  layout.queries =
      std::min(n_tokens, std::max<int64_t>(1, MlaWorkspaceLayout::kMaxPairs / shape.n_heads));
  layout.pairs = layout.queries * shape.n_heads;
  layout.query = static_cast<int64_t>(AlignUp(shape.latent + shape.rope, 16));
  layout.partial = static_cast<int64_t>(AlignUp(shape.latent, 16)) + 16;
  const int64_t splits = CeilDiv(length, kMlaSplitTokens);
  layout.slots = std::max(
      layout.pairs, std::min(MlaWorkspaceLayout::kMaxSlots / layout.pairs, splits) * layout.pairs);
  return layout;
}

}  // namespace rill
