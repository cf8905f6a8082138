// ops/mla_append.h — writes the rows of new tokens into the latent cache.
//
//   row(position + t) = [ RMSNorm(kv[t, 0:R]; weight, eps) | kv[t, R:R+P] ]
// Stored in the cache's type (bf16 rounds to nearest even). Specification: kernels/ref/mla_append.cc.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/mla_cache.h"

namespace rill {

struct MlaAppendArgs {
  float eps;            // kv_a_layernorm: 1e-6, not the model's rms_norm_eps
  TensorView kv;        // [T, R + P] f32  output of kv_a_proj_with_mqa
  TensorView weight;    // [R] f32
  MlaCacheView cache;   // pages of [position, position + T) exist and are writable
  int64_t position;
};

absl::Status Check(const MlaAppendArgs& args);

}  // namespace rill
