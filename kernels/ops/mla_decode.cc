#include "kernels/ops/mla_decode.h"

#include "kernels/ops/check_mla.h"
#include "kernels/ops/mla_workspace.h"

namespace rill {

absl::Status Check(const MlaDecodeArgs& args) {
  constexpr MlaFields kNames = {"mla_decode.shape.n_heads",
                                "mla_decode.shape.nope",
                                "mla_decode.shape.rope",
                                "mla_decode.shape.value",
                                "mla_decode.shape.latent",
                                "mla_decode.scale",
                                "mla_decode.q",
                                "mla_decode.kv_b",
                                "mla_decode.cache",
                                "mla_decode.out",
                                "mla_decode.workspace"};
  RILL_RETURN_IF_ERROR(CheckRange("mla_decode.length", args.length, 1, INT64_MAX));
  RILL_RETURN_IF_ERROR(CheckMla(kNames, args, args.length));
  return CheckRange("mla_decode.q tokens", args.q.dim[0], 1, 1);
}

uint64_t MlaWorkspaceBytes(const MlaShape& shape, int64_t n_tokens, int64_t length) {
  return MakeMlaWorkspaceLayout(shape, n_tokens, length).bytes();
}

}  // namespace rill
