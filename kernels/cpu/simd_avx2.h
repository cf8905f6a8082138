// kernels/cpu/simd_avx2.h — simd.h for AVX2, FMA and F16C: a Vec is two ymm.
#pragma once

#include <immintrin.h>

namespace rill::RILL_SIMD_NAMESPACE {

struct Vec {
  __m256 lo, hi;  // lanes 0..7, 8..15
};
struct VecPair {
  Vec low, high;
};

inline constexpr int kTileRows = 4, kTileCols = 1, kDotSums = 4, kStripe = 1, kSpreadCols = 2,
                     kSpreadVecs = 2;

// All bits set in the first n of sixteen 32-bit lanes, from lane `from` on.
RILL_INLINE __m256i First(int n, int from) {
  const __m256i lane =
      _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

RILL_INLINE Vec Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
RILL_INLINE Vec Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
RILL_INLINE Vec Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
RILL_INLINE Vec LoadN(const float* p, int n) {
  return {_mm256_maskload_ps(p, First(n, 0)), _mm256_maskload_ps(p + 8, First(n, 8))};
}
RILL_INLINE void Store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
RILL_INLINE void StoreN(float* p, Vec a, int n) {
  _mm256_maskstore_ps(p, First(n, 0), a.lo);
  _mm256_maskstore_ps(p + 8, First(n, 8), a.hi);
}

RILL_INLINE Vec Add(Vec a, Vec b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
RILL_INLINE Vec Sub(Vec a, Vec b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
RILL_INLINE Vec Mul(Vec a, Vec b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
RILL_INLINE Vec Div(Vec a, Vec b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
RILL_INLINE Vec Sqrt(Vec a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
RILL_INLINE Vec Fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
RILL_INLINE Vec Max(Vec a, Vec b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
RILL_INLINE Vec Min(Vec a, Vec b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }

RILL_INLINE float Sum(Vec a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
RILL_INLINE float Largest(Vec a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// In two factors, each a normal number: the first product is exact, the second rounds once.
RILL_INLINE __m256 TimesPow2(__m256 a, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
RILL_INLINE Vec TimesPow2(Vec a, Vec n) { return {TimesPow2(a.lo, n.lo), TimesPow2(a.hi, n.hi)}; }

RILL_INLINE __m256 WidenBf16(__m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
RILL_INLINE __m128i LoadEight(const uint16_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
RILL_INLINE Vec LoadBf16(const uint16_t* p) {
  return {WidenBf16(LoadEight(p)), WidenBf16(LoadEight(p + 8))};
}
RILL_INLINE Vec LoadBf16N(const uint16_t* p, int n) {
  uint16_t padded[16] = {};
  for (int i = 0; i < n; ++i) padded[i] = p[i];
  return LoadBf16(padded);
}

RILL_INLINE __m256i RoundBf16(__m256 a) {  // the result in the lower half of each lane
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
RILL_INLINE void StoreBf16(uint16_t* p, Vec a) {
  const __m256i packed = _mm256_packus_epi32(RoundBf16(a.lo), RoundBf16(a.hi));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}
RILL_INLINE void StoreBf16N(uint16_t* p, Vec a, int n) {
  uint16_t whole[16];
  StoreBf16(whole, a);
  for (int i = 0; i < n; ++i) p[i] = whole[i];
}

RILL_INLINE Vec LoadHalf(const uint16_t* p) {
  return {_mm256_cvtph_ps(LoadEight(p)), _mm256_cvtph_ps(LoadEight(p + 8))};
}
RILL_INLINE Vec LoadHalfN(const uint16_t* p, int n) {
  uint16_t padded[16] = {};
  for (int i = 0; i < n; ++i) padded[i] = p[i];
  return LoadHalf(padded);
}

RILL_INLINE Vec ScaleCodes(__m128i codes, Vec scale) {
  const __m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
  const __m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)));
  return {_mm256_mul_ps(lo, scale.lo), _mm256_mul_ps(hi, scale.hi)};
}
RILL_INLINE Vec LoadQ8(const int8_t* p, Vec scale) {
  return ScaleCodes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), scale);
}
RILL_INLINE VecPair LoadQ4(const uint8_t* p, Vec scale) {
  const __m128i nibble = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i low = _mm_and_si128(bytes, nibble),
                high = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
  return {ScaleCodes(_mm_sub_epi8(low, eight), scale),
          ScaleCodes(_mm_sub_epi8(high, eight), scale)};
}

}  // namespace rill::RILL_SIMD_NAMESPACE
