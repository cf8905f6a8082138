// ops/mla_decode.h — attention of one query row against the latent cache, in the absorbed form.
//
// kv_b holds, per head, N rows of W_K and V rows of W_V, each [R]. For head h and cached rows c_t = [latent | key]:
//   q~  = W_K^T q[h, 0:N]                                       [R]
//   s_t = (q~ . latent_t + q[h, N:N+P] . key_t) * scale         t in [0, length)
//   p   = softmax(s)
//   out[h] = W_V (sum_t p_t latent_t)                           [V]
// No rotation anywhere (NoPE): the P key values are ordinary dimensions. scale = (N + P)^-0.5.
//
// Order of sums: rows are taken in splits of kMlaSplitTokens, each with its own maximum, sum and weighted latent, and
// the splits are combined in order of position. The split is a fixed SIZE, so the bits depend neither on the number of
// threads nor on how many queries share a call. Specification: kernels/ref/mla_decode.cc.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"
#include "kernels/ops/mla_cache.h"

namespace rill {

inline constexpr int64_t kMlaSplitTokens = kPageTokens;  // one page: a split reads one contiguous run of rows

struct MlaShape {
  int64_t n_heads;    // H
  int64_t nope;       // N  key dimensions that come from the latent
  int64_t rope;       // P  key dimensions shared by all heads
  int64_t value;      // V
  int64_t latent;     // R
};

struct MlaDecodeArgs {
  MlaShape shape;
  float scale;
  TensorView q;           // [1, H, N + P] f32
  MatrixView kv_b;        // [H * (N + V), R] any format; per head N key rows, then V value rows
  MlaCacheView cache;
  int64_t length;         // rows to attend to, the current token's included; >= 1
  TensorView out;         // [1, H, V] f32  written whole
  TensorView workspace;   // [>= MlaWorkspaceBytes(shape, 1, length)] u8, 64-byte aligned
};

absl::Status Check(const MlaDecodeArgs& args);

// Scratch for `n_tokens` query rows when the last of them sees `length` rows. Pure and bounded: it stops growing at a
// few queries and a few thousand rows (kernels/ops/mla_workspace.h).
uint64_t MlaWorkspaceBytes(const MlaShape& shape, int64_t n_tokens, int64_t length);

}  // namespace rill
