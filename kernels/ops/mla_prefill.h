// ops/mla_prefill.h — attention of T query rows against the latent cache, causal.
//
// Row t is mla_decode with length = position + t + 1: the rows of all T tokens are in the cache before the call.
// Host devices compute exactly that, so a prompt and its tokens one by one give the same bits; devices with matrix
// units may expand the latent instead. Specification: kernels/ref/mla_prefill.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/mla_decode.h"

namespace rill {

struct MlaPrefillArgs {
  MlaShape shape;
  float scale;
  TensorView q;           // [T, H, N + P] f32
  MatrixView kv_b;        // as in mla_decode
  MlaCacheView cache;
  int64_t position;       // absolute position of q[0]
  TensorView out;         // [T, H, V] f32  written whole
  TensorView workspace;   // [>= MlaWorkspaceBytes(shape, T, position + T)] u8
};

absl::Status Check(const MlaPrefillArgs& args);

}  // namespace rill
