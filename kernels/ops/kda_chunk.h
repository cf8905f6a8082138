// ops/kda_chunk.h — T tokens of Kimi Delta Attention at once (prefill): the same function as T calls of kda_step.
//
// The specification is that repetition (kernels/ref/kda_chunk.cc). How a device computes it is its own matter:
//  * host devices run the recurrence head by head with the state in the cache. It is 1 % of the arithmetic of a
//    prefill, and it keeps every bit equal to step-by-step decoding (docs/adr/0003);
//  * devices with matrix units use the chunkwise form over C tokens. With G_r = sum_{s<=r} g_s inside the chunk:
//      Akk[i,j] = beta_i sum_d k[i,d] k[j,d] exp(G_i - G_j)_d   j < i        Aqk[i,j] = scale sum_d q k exp(G_i - G_j)   j <= i
//      M = (I + Akk)^-1      U = M (beta V)      W = M (beta K exp(G))      V~ = U - W S
//      O = scale (Q exp(G)) S + Aqk V~           S' = diag(exp(G_C)) S + (K exp(G_C - G))^T V~
//    Only exp of differences <= 0 is safe: g has no lower bound, so exp(-G) overflows (technical report eq. 6-9).
// Tails that fill no chunk, and any T >= 1, are the same function.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/kda_step.h"
#include "kernels/ops/state_export.h"

namespace rill {

struct KdaChunkArgs {
  float scale;
  TensorView q;        // [T, H, K] f32  already L2-normalised
  TensorView k;        // [T, H, K] f32  already L2-normalised
  TensorView v;        // [T, H, V] f32
  TensorView g;        // [T, H, K] f32
  TensorView beta;     // [T, H] f32
  TensorView state;    // [H, K, V] f32  read and written
  TensorView out;      // [T, H, V] f32  written whole; may be v itself
  absl::Span<const StateExport> exports;   // states after the listed token counts, [H, K, V] f32 each
  KdaRing ring;        // optional; only the last R tokens of the call need be written
  int64_t position;    // absolute position of token 0
  TensorView workspace;  // [>= KdaChunkWorkspaceBytes(...)] u8, 64-byte aligned; host devices ignore it
};

absl::Status Check(const KdaChunkArgs& args);

// Pure. Scratch of the chunkwise form for T tokens; the planner reserves it on devices that use it.
uint64_t KdaChunkWorkspaceBytes(int64_t n_tokens, int64_t n_heads, int64_t key_dim, int64_t value_dim);

}  // namespace rill
