// kernels/ops/check_mla.h — what mla_decode and mla_prefill check alike.
#pragma once

#include "kernels/base/status.h"
#include "kernels/ops/check.h"
#include "kernels/ops/mla_decode.h"

namespace rill {

struct MlaFields {  // the names to report, e.g. "mla_decode.q"
  absl::string_view heads, nope, rope, value, latent, scale, q, kv_b, cache, out, workspace;
};

// Every field but the position; T is q.dim[0], and the last query sees `length` rows.
template <typename Args>
absl::Status CheckMla(const MlaFields& names, const Args& args, int64_t length) {
  constexpr int64_t kLargest = int64_t{1} << 20;  // keeps every product of two sizes far from 2^63
  const MlaShape& shape = args.shape;
  RILL_RETURN_IF_ERROR(CheckRange(names.heads, shape.n_heads, 1, kLargest));
  RILL_RETURN_IF_ERROR(CheckRange(names.nope, shape.nope, 1, kLargest));
  RILL_RETURN_IF_ERROR(CheckRange(names.rope, shape.rope, 0, kLargest));
  RILL_RETURN_IF_ERROR(CheckRange(names.value, shape.value, 1, kLargest));
  RILL_RETURN_IF_ERROR(CheckRange(names.latent, shape.latent, 1, kLargest));
  RILL_RETURN_IF_ERROR(CheckFinite(names.scale, args.scale));
  RILL_RETURN_IF_ERROR(CheckRank(names.q, args.q, DType::kF32, 3));
  const int64_t T = args.q.dim[0];
  RILL_RETURN_IF_ERROR(CheckF32(names.q, args.q, {T, shape.n_heads, shape.nope + shape.rope}));
  RILL_RETURN_IF_ERROR(
      CheckMatrix(names.kv_b, args.kv_b, shape.n_heads * (shape.nope + shape.value), shape.latent));
  RILL_RETURN_IF_ERROR(CheckCache(names.cache, args.cache, shape.latent, shape.rope));
  RILL_RETURN_IF_ERROR(CheckF32(names.out, args.out, {T, shape.n_heads, shape.value}));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.out, args.out, names.q, args.q));
  RILL_RETURN_IF_ERROR(
      CheckWorkspace(names.workspace, args.workspace, MlaWorkspaceBytes(shape, T, length)));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.workspace, args.workspace, names.q, args.q));
  return CheckDisjoint(names.workspace, args.workspace, names.out, args.out);
}

}  // namespace rill
