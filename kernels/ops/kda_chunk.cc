#include "kernels/ops/kda_chunk.h"

#include "kernels/base/checked.h"
#include "kernels/ops/check_kda.h"

namespace rill {

absl::Status Check(const KdaChunkArgs& args) {
  constexpr KdaFields kNames = {"kda_chunk.scale",  "kda_chunk.q",      "kda_chunk.k",
                                "kda_chunk.v",      "kda_chunk.g",      "kda_chunk.beta",
                                "kda_chunk.state",  "kda_chunk.out",    "kda_chunk.ring.k",
                                "kda_chunk.ring.u", "kda_chunk.ring.g", "kda_chunk.position"};
  RILL_RETURN_IF_ERROR(CheckKdaTokens(kNames, args));
  return CheckExports("kda_chunk.exports", args.exports, args.q.dim[0]);
}

// Per token (T rounded up to whole chunks of 64) and head, in float32: a row of M and of Aqk (64
// each), of G, of W and of the decayed key (K each), of U (V).
uint64_t KdaChunkWorkspaceBytes(int64_t n_tokens, int64_t n_heads, int64_t key_dim,
                                int64_t value_dim) {
  constexpr uint64_t kChunk = 64;
  const uint64_t rows = AlignUp(n_tokens, kChunk) * n_heads;
  return AlignUp(rows * (2 * kChunk + 3 * key_dim + value_dim) * sizeof(float), 64);
}

}  // namespace rill
