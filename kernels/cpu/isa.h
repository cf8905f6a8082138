// kernels/cpu/isa.h — what an instruction set provides: one function per body, chosen once when the
// device is opened.
//
// Plain structs and pointers, because the bodies are compiled with instructions the rest of the
// program may not use (simd.h). Sizes have been checked by the operators that call them
// (kernels/cpu/<op>.cc), which also cut the work into ranges; no function allocates. Formulas are
// in kernels/ops, the order of every sum beside its body and in docs/NUMERICS.md.
#pragma once

#include <stdint.h>

#include "kernels/base/cpu_features.h"
#include "kernels/ops/matrix.h"

namespace rill::cpu {

// A matrix of kernels/ops/matrix.h with its sizes worked out.
struct Weights {
  WeightFormat format;
  int64_t cols;
  int64_t groups;  // per row
  int64_t row_bytes;
  const uint8_t* values;
  const uint16_t* scales;
};

// n activation rows. Without an index row t starts at data + stride * t and its output is row t.
// With one, output t is row index[t], and every `share` of them read the same input: data + stride
// * (index[t] / share).
struct Rows {
  const float* data;
  int64_t stride;
  int64_t n;
  const int32_t* index = nullptr;
  int32_t share = 1;
};

// T tokens of one head of Kimi Delta Attention, value columns [begin, end) of the state. Strides
// are in floats, from one token to the next. Ring slots are those of tokens [first_recorded, T);
// ring_k == nullptr: no ring.
struct KdaHead {
  int64_t T, K, V, begin, end;
  float scale;
  const float *q, *k, *g;
  int64_t key_stride;
  const float* beta;
  int64_t beta_stride;
  const float* v;
  float* out;
  int64_t value_stride;
  float* state;                     // [K, V]
  float *ring_k, *ring_u, *ring_g;  // [R, ...] of this head
  int64_t ring_size, ring_position, first_recorded;
};

// State exports are copies between two KdaHead runs; replay is a run without queries.
struct KdaReplayHead {
  int64_t n, K, V, begin, end;
  float* state;
  const float *ring_k, *ring_u, *ring_g;
  int64_t key_stride, value_stride, ring_size, position;
};

struct ConvChannels {
  int64_t T, C, W, begin, end;  // tokens, channels, taps, the channels to do
  const float *x, *weight;      // [T, C], [C, W]
  float *tail, *out;            // [C, W-1], [T, C]
};

// A run of cached rows, `n` at most kMlaSplitTokens, of `width` = latent + rope values each; and
// the bytes that the same worker will read after them, 0 if none.
struct CacheRows {
  bool bf16;
  const void* data;
  int64_t n, width;
  const void* next;
  int64_t next_bytes;
};

// Scratch of one worker, in floats: the widest use is a split of the MLA cache in float32.
inline constexpr int64_t kScratchFloats = int64_t{128} * 1024;

inline constexpr int64_t kMlaQueriesAtOnce = 32;

struct Isa {
  CpuIsa id;

  // matvec.inl.h, matmul.inl.h: rows [begin, end) of the matrix; y[row] is written, so y is that of
  // row 0.
  void (*matvec)(const Weights&, int64_t begin, int64_t end, const float* x, float* y,
                 bool accumulate);
  void (*matmul)(const Weights&, int64_t begin, int64_t end, const Rows& x, float* y,
                 int64_t y_stride, bool accumulate, float* scratch);
  void (*decode_row)(const Weights&, int64_t row, float* out);

  // rows.inl.h
  void (*add)(float* x, const float* y, int64_t n);
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t D, float* out);
  void (*l2_norm)(const float* x, float eps, int64_t K, float* out);
  void (*gated_rms_norm)(const float* x, const float* gate, const float* weight, float eps,
                         int64_t V, float* out);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  void (*sigmoid)(const float* x, int64_t n, float* out);
  void (*softmax)(float* x, int64_t n);
  void (*kda_decay)(const float* f, const float* dt_bias, float a_log, int64_t K, float* g);
  void (*weighted_sum)(const float* rows, int64_t n_rows, int64_t stride, const float* weights,
                       int64_t n, bool accumulate, float* out);
  void (*mla_row)(const float* kv, const float* weight, float eps, int64_t latent, int64_t rope,
                  bool bf16, void* row);
  float (*largest)(const float* x, int64_t n);
  float (*sum_exp)(const float* x, float max, int64_t n);

  // short_conv.inl.h, kda.inl.h
  void (*short_conv)(const ConvChannels&);
  void (*kda_run)(const KdaHead&, float* scratch);
  void (*kda_replay)(const KdaReplayHead&);

  // mla.inl.h
  // Rows [0, nope) of `w` are one head's W_K; absorbed rows are `stride` floats apart, their latent
  // rounded up to 16.
  void (*mla_absorb)(const Weights& w, int64_t nope, const Rows& q, float* absorbed, int64_t stride,
                     float* scratch);
  // Up to kMlaQueriesAtOnce queries [latent | rope], rounded up to 16; query c sees the first
  // visible[c] rows.
  void (*mla_split)(const CacheRows&, int64_t latent, float scale, const float* queries,
                    int64_t n_queries, const int64_t* visible, float* partials, int64_t stride,
                    float* scratch);
  void (*mla_combine)(float* running, const float* partial, int64_t latent);
  void (*mla_finish)(float* running, int64_t latent);
};

// The bodies for `isa`, or null where this build has none.
const Isa* GetIsa(CpuIsa isa);

// One accessor per isa_*.cc that compiles to something on this architecture.
const Isa& GenericIsa();
#if defined(__x86_64__)
const Isa& Avx2Isa();
const Isa& Avx512Isa();
#elif defined(__aarch64__)
const Isa& NeonIsa();
#endif

}  // namespace rill::cpu
