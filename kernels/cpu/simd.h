// kernels/cpu/simd.h — sixteen float lanes, whatever the registers are: one zmm, two ymm, four NEON
// or plain code.
//
// A file isa_X.cc defines RILL_SIMD_NAMESPACE and one RILL_SIMD_X, then includes this and the
// bodies (*.inl.h); all of it lives in that namespace. Bodies use nothing but this file, plain
// loops and plain structs: an inline function of the C++ library compiled here with wide
// instructions could be the copy the linker keeps for the whole program.
//
// Every instruction set gives the same bits: lanes mean the same elements, Fma rounds once, Sum
// folds in one order.
//
// Each simd_X.h defines Vec and, for it (n in 1..15: the other lanes are zero, or left alone):
//   Zero() Set(x) Load(p) LoadN(p, n) Store(p, v) StoreN(p, v, n)
//   Add Sub Mul Div Sqrt       lane by lane, rounded as IEEE 754 says
//   Fma(a, b, c)               a * b + c
//   Max(a, b) Min(a, b)        a > b ? a : b    a < b ? a : b
//   Sum(v)                     lanes i + (i+8), then + (i+4), + (i+2), + (i+1)
//   SumEach(vecs, sums)        Sum of each of sixteen Vecs that follow each other in memory
//   Largest(v)                 of lanes without NaN
//   TimesPow2(v, n)            v * 2^n for whole n in [-160, 160], rounded once
//   LoadBf16 LoadBf16N         (p), (p, n)
//   StoreBf16 StoreBf16N       (p, v), (p, v, n)   to nearest even, NaN stays NaN
//   LoadHalf LoadHalfN         (p), (p, n)         IEEE half
//   LoadQ8(p, scale)           16 codes times the scale, exact
//   LoadQ4(p, scale)           a group: inputs 0..15 in .low and 16..31 in .high, exact
// and how many sums fit its registers: kDotSums (matvec.inl.h), kTileRows x kTileCols and
// kSpreadCols x kSpreadVecs (tile.inl.h), kStripe (kda.inl.h). None of them shows in a result.
#pragma once

#include <stdint.h>

#define RILL_INLINE static inline __attribute__((always_inline))

#if defined(RILL_SIMD_AVX512)
#include "kernels/cpu/simd_avx512.h"
#elif defined(RILL_SIMD_AVX2)
#include "kernels/cpu/simd_avx2.h"
#elif defined(RILL_SIMD_NEON)
#include "kernels/cpu/simd_neon.h"
#else
#include "kernels/cpu/simd_generic.h"
#endif

#if !defined(RILL_SIMD_AVX512)
namespace rill::RILL_SIMD_NAMESPACE {
RILL_INLINE void SumEach(const float* vecs, float* sums) {
  for (int i = 0; i < 16; ++i) sums[i] = Sum(Load(vecs + 16 * i));
}
}  // namespace rill::RILL_SIMD_NAMESPACE
#endif
