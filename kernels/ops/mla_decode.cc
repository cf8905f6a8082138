#include "kernels/ops/mla_decode.h"

#include "kernels/base/checked.h"
#include "kernels/ops/check_mla.h"

namespace rill {

absl::Status Check(const MlaDecodeArgs& args) {
  constexpr MlaFields kNames = {"mla_decode.shape.n_heads", "mla_decode.shape.nope",   "mla_decode.shape.rope",
                                "mla_decode.shape.value",   "mla_decode.shape.latent", "mla_decode.scale",
                                "mla_decode.q",             "mla_decode.kv_b",         "mla_decode.cache",
                                "mla_decode.out",           "mla_decode.workspace"};
  RILL_RETURN_IF_ERROR(CheckRange("mla_decode.length", args.length, 1, INT64_MAX));
  RILL_RETURN_IF_ERROR(CheckMla(kNames, args, args.length));
  return CheckRange("mla_decode.q tokens", args.q.dim[0], 1, 1);
}

// Per (query, head), in float32: the absorbed query, the running latent and the split's latent (R each), the split's
// weights, and 16 for maxima and sums. A shorter context needs fewer weights.
uint64_t MlaWorkspaceBytes(const MlaShape& shape, int64_t n_tokens, int64_t length) {
  const int64_t split = length < kMlaSplitTokens ? length : kMlaSplitTokens;
  const uint64_t floats = AlignUp(3 * shape.latent + split + 16, 16);
  return floats * sizeof(float) * n_tokens * shape.n_heads;
}

}  // namespace rill
