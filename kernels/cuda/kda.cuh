// kernels/cuda/kda.cuh — the KDA recurrence on a slice of a head's state: shared by kda_step, kda_chunk, kda_replay and the
// fused decode step, so that all of them leave the same bits in the state.
//
// A block owns kSlice value columns of one head; 16 groups of threads share the key rows between them. Both reads of a
// token come from one pass over the decayed state S', because S = S' + k u^T gives S^T q = S'^T q + (k . q) u.
#pragma once

#include "kernels/cuda/math.cuh"

namespace rill::cuda {

inline constexpr int kKeyParts = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kMaxRows = kMaxHeadDim / kKeyParts;  // key rows of a thread

// This thread's part of a state [K, V]: rows key_part * K / 16 + j of column `column`. kRows is K / 16, or kMaxRows for any K.
template <int kSlice, int kRows = kMaxRows>
struct KdaTile {
  float s[kRows];
  int rows, column, first_row;

  __device__ __forceinline__ void Place(int K, int slice) {
    rows = kRows == kMaxRows ? K / kKeyParts : kRows;
    column = slice * kSlice + ThreadId() % kSlice;
    first_row = ThreadId() / kSlice * rows;
  }
  __device__ __forceinline__ void Load(const float* state, int V) {
    const float* from = state + first_row * V + column;
#pragma unroll
    for (int j = 0; j < kRows; ++j) s[j] = kRows != kMaxRows || j < rows ? __ldcg(from + j * V) : 0.0f;
  }
  __device__ __forceinline__ void Store(float* state, int V) const {
    float* to = state + first_row * V + column;
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      if (kRows != kMaxRows || j < rows) to[j * V] = s[j];
    }
  }
  // S' = diag(decay) S; adds this part's share of S'^T k and S'^T q.
  __device__ __forceinline__ void Decay(const float* decay, const float* k, const float* q, float* predicted, float* read) {
    float p = 0, r = 0;
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      if (kRows == kMaxRows && j >= rows) break;
      s[j] = __fmul_rn(s[j], decay[first_row + j]);
      p = fmaf(k[first_row + j], s[j], p);
      r = fmaf(q[first_row + j], s[j], r);
    }
    *predicted = p;
    *read = r;
  }
  // S = S' + k u^T
  __device__ __forceinline__ void Write(const float* k, float u) {
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      if (kRows != kMaxRows || j < rows) s[j] = fmaf(k[first_row + j], u, s[j]);
    }
  }
};

// Shared memory of one token of a slice.
template <int kSlice>
struct KdaShared {
  float q[kMaxHeadDim], k[kMaxHeadDim], decay[kMaxHeadDim];
  float v[kSlice], u[kSlice];
  float partial[2][kKeyParts][kSlice];
  float qk, beta;
};

// One token: q, k, decay, v, beta and qk are in `x` (a barrier lies behind them). Returns, in the first kSlice threads, scale * S^T q of the
// column; x.u holds the delta. Ends with every thread past the last read of x.partial but not of x.u and x.k.
template <int kSlice, int kRows>
__device__ __forceinline__ float KdaToken(KdaTile<kSlice, kRows>& tile, KdaShared<kSlice>& x, float scale) {
  const int column = ThreadId() % kSlice, part = ThreadId() / kSlice;
  float p, r;
  tile.Decay(x.decay, x.k, x.q, &p, &r);
  x.partial[0][part][column] = p;
  x.partial[1][part][column] = r;
  SyncWorkers<kSlice * kKeyParts>();
  float out = 0;
  if (ThreadId() < kSlice) {
    p = r = 0;
#pragma unroll
    for (int i = 0; i < kKeyParts; ++i) {
      p += x.partial[0][i][column];
      r += x.partial[1][i][column];
    }
    const float u = x.beta * (x.v[column] - p);
    x.u[column] = u;
    out = scale * fmaf(x.qk, u, r);
  }
  SyncWorkers<kSlice * kKeyParts>();
  tile.Write(x.k, x.u[column]);
  return out;
}

}  // namespace rill::cuda
