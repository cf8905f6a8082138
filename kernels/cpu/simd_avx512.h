// kernels/cpu/simd_avx512.h — simd.h for AVX-512 F, BW, VL, DQ: a Vec is one zmm.
#pragma once

#include <immintrin.h>

namespace rill::RILL_SIMD_NAMESPACE {

struct Vec {
  __m512 v;
};
struct VecPair {
  Vec low, high;
};

inline constexpr int kTileRows = 4, kTileCols = 6, kDotSums = 16, kStripe = 4, kSpreadCols = 6,
                     kSpreadVecs = 4;

RILL_INLINE __mmask16 First(int n) { return static_cast<__mmask16>((1u << n) - 1); }

RILL_INLINE Vec Zero() { return {_mm512_setzero_ps()}; }
RILL_INLINE Vec Set(float x) { return {_mm512_set1_ps(x)}; }
RILL_INLINE Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
RILL_INLINE Vec LoadN(const float* p, int n) { return {_mm512_maskz_loadu_ps(First(n), p)}; }
RILL_INLINE void Store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
RILL_INLINE void StoreN(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, First(n), a.v); }

RILL_INLINE Vec Add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
RILL_INLINE Vec Sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
RILL_INLINE Vec Mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
RILL_INLINE Vec Div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
RILL_INLINE Vec Sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
RILL_INLINE Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
RILL_INLINE Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
RILL_INLINE Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }

RILL_INLINE float Sum(Vec a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Sixteen Sums at once, the folds of two vectors sharing a register: each level of Sum halves the
// registers instead of the lanes in use. The selections name quarters of a zmm, then floats of a
// quarter.
RILL_INLINE __m512 FoldEight(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
RILL_INLINE __m512 FoldFour(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
RILL_INLINE __m512 FoldTwo(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}
RILL_INLINE __m512 FoldOne(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}
RILL_INLINE void SumEach(const float* vecs, float* sums) {
  __m512 fold[8];
  for (int i = 0; i < 8; ++i)
    fold[i] = FoldEight(_mm512_loadu_ps(vecs + 16 * i), _mm512_loadu_ps(vecs + 16 * i + 128));
  for (int i = 0; i < 4; ++i)
    fold[i] = FoldFour(fold[i], fold[i + 4]);  // quarters: vectors i, i + 8, i + 4, i + 12
  const __m512 total = FoldOne(FoldTwo(fold[0], fold[1]), FoldTwo(fold[2], fold[3]));
  _mm512_storeu_ps(sums, _mm512_shuffle_f32x4(total, total, 0xd8));
}

RILL_INLINE float Largest(Vec a) { return _mm512_reduce_max_ps(a.v); }

RILL_INLINE Vec TimesPow2(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }

RILL_INLINE __m512 WidenBf16(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
RILL_INLINE Vec LoadBf16(const uint16_t* p) {
  return {WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
RILL_INLINE Vec LoadBf16N(const uint16_t* p, int n) {
  return {WidenBf16(_mm256_maskz_loadu_epi16(First(n), p))};
}

RILL_INLINE __m256i NarrowBf16(Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
RILL_INLINE void StoreBf16(uint16_t* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), NarrowBf16(a));
}
RILL_INLINE void StoreBf16N(uint16_t* p, Vec a, int n) {
  _mm256_mask_storeu_epi16(p, First(n), NarrowBf16(a));
}

RILL_INLINE Vec LoadHalf(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
RILL_INLINE Vec LoadHalfN(const uint16_t* p, int n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(First(n), p))};
}

RILL_INLINE Vec LoadQ8(const int8_t* p, Vec scale) {
  const __m512i codes = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm512_mul_ps(_mm512_cvtepi32_ps(codes), scale.v)};
}

// The sixteen possible weights of the group, then one permutation looks each nibble up.
RILL_INLINE VecPair LoadQ4(const uint8_t* p, Vec scale) {
  const __m512 codes = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512 weights = _mm512_mul_ps(codes, scale.v);
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {{_mm512_permutexvar_ps(bytes, weights)},
          {_mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), weights)}};
}

}  // namespace rill::RILL_SIMD_NAMESPACE
