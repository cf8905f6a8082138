// kernels/ops/layer_weights.h — the weights of one layer as the operators take them. Plain structs of views: the model
// binds them once; its layers pass them to operators one by one, and a fused decoder (fused_decoder.h) takes them whole.
#pragma once

#include <cstdint>

#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"
#include "kernels/ops/mla_decode.h"
#include "kernels/ops/router.h"

namespace rill {

struct KdaWeights {
  int64_t heads, head_dim, conv_width, gate_rank;   // H, K = V, W, R; C = H * K
  float scale;                                      // K^-0.5
  float norm_eps;                                   // of o_norm
  MatrixView q, k, v;                               // [C, D]
  MatrixView f_a, g_a;                              // [R, D]
  MatrixView f_b, g_b;                              // [C, R]
  MatrixView b;                                     // [H, D]
  MatrixView o;                                     // [D, C]
  TensorView conv_q, conv_k, conv_v;                // [C, W] f32
  TensorView a_log;                                 // [H] f32
  TensorView dt_bias;                               // [H, K] f32
  TensorView o_norm;                                // [K] f32
};

struct MlaWeights {
  MlaShape shape;
  float scale;                                      // (nope + rope)^-0.5
  float norm_eps;                                   // of kv_norm and q_norm
  int64_t q_rank;                                   // 0: plain q
  MatrixView q;                                     // [H * (N + P), D], or [H * (N + P), Q] behind q_a when q_rank > 0
  MatrixView q_a;                                   // [Q, D] or empty
  TensorView q_norm;                                // [Q] f32 or empty
  MatrixView kv_a;                                  // [R + P, D]
  TensorView kv_norm;                               // [R] f32
  MatrixView kv_b;                                  // [H * (N + V), R]
  MatrixView o;                                     // [D, H * V]
};

struct GluWeights {                                 // dense FFN and shared experts
  int64_t width = 0;                                // I
  MatrixView gate, up;                              // [I, D]
  MatrixView down;                                  // [D, I]
};

struct MoeWeights {
  RouterActivation activation;
  int top_k, n_groups, topk_groups;
  bool renormalize;
  float scaling;
  MatrixView router;                                // [E, D] bf16 or f32
  TensorView router_bias;                           // [E] f32
  ExpertsView experts;
  GluWeights shared;                                // width 0: none
};

struct LayerWeights {
  bool is_kda = false;                              // else MLA
  bool is_moe = false;                              // else dense
  TensorView input_norm, post_norm;                 // [D] f32
  KdaWeights kda;
  MlaWeights mla;
  GluWeights dense;
  MoeWeights moe;
};

}  // namespace rill
