#include "kernels/ops/mla_append.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {

absl::Status Check(const MlaAppendArgs& args) {
  RILL_RETURN_IF_ERROR(CheckPositive("mla_append.eps", args.eps));
  RILL_RETURN_IF_ERROR(CheckRank("mla_append.kv", args.kv, DType::kF32, 2));
  RILL_RETURN_IF_ERROR(CheckRange("mla_append.cache.latent", args.cache.latent, 1, args.kv.dim[1]));
  RILL_RETURN_IF_ERROR(CheckF32("mla_append.weight", args.weight, {args.cache.latent}));
  RILL_RETURN_IF_ERROR(CheckCache("mla_append.cache", args.cache, args.cache.latent,
                                  args.kv.dim[1] - args.cache.latent));
  return CheckRange("mla_append.position", args.position, 0, INT64_MAX - args.kv.dim[0]);
}

}  // namespace rill
