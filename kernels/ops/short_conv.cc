#include "kernels/ops/short_conv.h"

#include "kernels/base/status.h"
#include "kernels/ops/check.h"

namespace rill {
namespace {

absl::Status CheckRing(const ShortConvArgs& args, int64_t C) {
  if (args.ring.empty()) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(CheckRank("short_conv.ring", args.ring, DType::kF32, 2));
  RILL_RETURN_IF_ERROR(CheckF32("short_conv.ring", args.ring, {args.ring.dim[0], C}));
  RILL_RETURN_IF_ERROR(
      CheckRange("short_conv.position", args.position, 0, INT64_MAX - args.x.dim[0]));
  RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.ring", args.ring, "short_conv.x", args.x));
  RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.ring", args.ring, "short_conv.tail", args.tail));
  return CheckDisjoint("short_conv.ring", args.ring, "short_conv.out", args.out);
}

}  // namespace

absl::Status Check(const ShortConvArgs& args) {
  RILL_RETURN_IF_ERROR(CheckRank("short_conv.x", args.x, DType::kF32, 2));
  const int64_t T = args.x.dim[0], C = args.x.dim[1];
  RILL_RETURN_IF_ERROR(CheckRank("short_conv.weight", args.weight, DType::kF32, 2));
  const int64_t W = args.weight.dim[1];
  RILL_RETURN_IF_ERROR(CheckRange("short_conv.weight taps", W, 2, 8));
  RILL_RETURN_IF_ERROR(CheckF32("short_conv.weight", args.weight, {C, W}));
  RILL_RETURN_IF_ERROR(CheckF32("short_conv.tail", args.tail, {C, W - 1}));
  RILL_RETURN_IF_ERROR(CheckF32("short_conv.out", args.out, {T, C}));
  if (T == 1 && args.ring.empty()) {
    RILL_RETURN_IF_ERROR(CheckSameOrDisjoint("short_conv.out", args.out, "short_conv.x", args.x));
  } else {
    RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.out", args.out, "short_conv.x", args.x));
  }
  RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.out", args.out, "short_conv.weight", args.weight));
  RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.out", args.out, "short_conv.tail", args.tail));
  RILL_RETURN_IF_ERROR(CheckDisjoint("short_conv.tail", args.tail, "short_conv.x", args.x));
  RILL_RETURN_IF_ERROR(CheckExports("short_conv.exports", args.exports, T));
  return CheckRing(args, C);
}

}  // namespace rill
