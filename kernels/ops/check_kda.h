// kernels/ops/check_kda.h — what the three operators on a KDA state check alike.
#pragma once

#include <utility>

#include "kernels/base/status.h"
#include "kernels/ops/check.h"
#include "kernels/ops/kda_step.h"

namespace rill {

struct KdaFields {  // the names to report, e.g. "kda_step.q"
  absl::string_view scale, q, k, v, g, beta, state, out, ring_k, ring_u, ring_g, position;
};

// Head sizes: multiples of 16 so that every SIMD width divides a row, at most 256 so that a row
// fits on the stack.
inline absl::Status CheckKdaState(absl::string_view field, const TensorView& state) {
  RILL_RETURN_IF_ERROR(CheckRank(field, state, DType::kF32, 3));
  for (int i = 1; i <= 2; ++i) {
    if (state.dim[i] % 16 == 0 && state.dim[i] <= 256) continue;
    return absl::InvalidArgumentError(absl::StrCat(field, ": ", i == 1 ? "K" : "V", " is ",
                                                   state.dim[i],
                                                   ", expected a multiple of 16, at most 256"));
  }
  return absl::OkStatus();
}

// All three views, or none of them.
inline absl::Status CheckKdaRing(const KdaFields& names, const KdaRing& ring,
                                 const TensorView& state) {
  if (ring.k.empty() && ring.u.empty() && ring.g.empty()) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(CheckRank(names.ring_k, ring.k, DType::kF32, 3));
  const int64_t R = ring.k.dim[0], H = state.dim[0], K = state.dim[1], V = state.dim[2];
  RILL_RETURN_IF_ERROR(CheckF32(names.ring_k, ring.k, {R, H, K}));
  RILL_RETURN_IF_ERROR(CheckF32(names.ring_u, ring.u, {R, H, V}));
  RILL_RETURN_IF_ERROR(CheckF32(names.ring_g, ring.g, {R, H, K}));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.ring_k, ring.k, names.ring_u, ring.u));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.ring_k, ring.k, names.ring_g, ring.g));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.ring_u, ring.u, names.ring_g, ring.g));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.state, state, names.ring_k, ring.k));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.state, state, names.ring_u, ring.u));
  return CheckDisjoint(names.state, state, names.ring_g, ring.g);
}

// The tokens of kda_step (T = 1) and kda_chunk, whose fields have the same names.
template <typename Args>
absl::Status CheckKdaTokens(const KdaFields& names, const Args& args) {
  RILL_RETURN_IF_ERROR(CheckFinite(names.scale, args.scale));
  RILL_RETURN_IF_ERROR(CheckKdaState(names.state, args.state));
  RILL_RETURN_IF_ERROR(CheckRank(names.q, args.q, DType::kF32, 3));
  const int64_t T = args.q.dim[0], H = args.state.dim[0], K = args.state.dim[1],
                V = args.state.dim[2];
  RILL_RETURN_IF_ERROR(CheckF32(names.q, args.q, {T, H, K}));
  RILL_RETURN_IF_ERROR(CheckF32(names.k, args.k, {T, H, K}));
  RILL_RETURN_IF_ERROR(CheckF32(names.v, args.v, {T, H, V}));
  RILL_RETURN_IF_ERROR(CheckF32(names.g, args.g, {T, H, K}));
  RILL_RETURN_IF_ERROR(CheckF32(names.beta, args.beta, {T, H}));
  RILL_RETURN_IF_ERROR(CheckF32(names.out, args.out, {T, H, V}));
  const std::pair<absl::string_view, const TensorView*> inputs[] = {
      {names.q, &args.q}, {names.k, &args.k}, {names.g, &args.g}, {names.beta, &args.beta}};
  for (const auto& [name, view] : inputs) {
    RILL_RETURN_IF_ERROR(CheckDisjoint(names.state, args.state, name, *view));
    RILL_RETURN_IF_ERROR(CheckDisjoint(names.out, args.out, name, *view));
  }
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.state, args.state, names.v, args.v));
  RILL_RETURN_IF_ERROR(CheckDisjoint(names.state, args.state, names.out, args.out));
  RILL_RETURN_IF_ERROR(CheckSameOrDisjoint(names.out, args.out, names.v, args.v));
  RILL_RETURN_IF_ERROR(CheckKdaRing(names, args.ring, args.state));
  if (args.ring.k.empty()) return absl::OkStatus();
  return CheckRange(names.position, args.position, 0, INT64_MAX - T);
}

}  // namespace rill
