#include "kernels/ops/mla_prefill.h"

#include "kernels/ops/check_mla.h"

namespace rill {

absl::Status Check(const MlaPrefillArgs& args) {
  constexpr MlaFields kNames = {"mla_prefill.shape.n_heads",
                                "mla_prefill.shape.nope",
                                "mla_prefill.shape.rope",
                                "mla_prefill.shape.value",
                                "mla_prefill.shape.latent",
                                "mla_prefill.scale",
                                "mla_prefill.q",
                                "mla_prefill.kv_b",
                                "mla_prefill.cache",
                                "mla_prefill.out",
                                "mla_prefill.workspace"};
  RILL_RETURN_IF_ERROR(CheckRank("mla_prefill.q", args.q, DType::kF32, 3));
  const int64_t T = args.q.dim[0];
  RILL_RETURN_IF_ERROR(CheckRange("mla_prefill.position", args.position, 0, INT64_MAX - T));
  return CheckMla(kNames, args, args.position + T);
}

}  // namespace rill
