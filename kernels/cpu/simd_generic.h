// kernels/cpu/simd_generic.h — simd.h in plain C++: what runs where nothing better does, with the
// same bits.
#pragma once

#include <string.h>

namespace rill::RILL_SIMD_NAMESPACE {

struct Vec {
  float x[16];
};
struct VecPair {
  Vec low, high;
};

inline constexpr int kTileRows = 2, kTileCols = 2, kDotSums = 4, kStripe = 1, kSpreadCols = 2,
                     kSpreadVecs = 2;

RILL_INLINE float FromBits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
RILL_INLINE uint32_t Bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

// a * b + c rounded once. The product is exact in double; the sum is rounded to odd there (its last
// bit records that something was cut off), which makes the second rounding, to float, the only one
// that counts: Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums" (2008). Ten
// plain instructions, where the C library has a call.
RILL_INLINE float FmaOnce(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * b, addend = c;
  const double sum = product + addend;
  const double rest = sum - product;
  const double error = (product - (sum - rest)) + (addend - rest);
  int64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  const int64_t inexact = (error > 0) | (error < 0);
  const int64_t outward = (error > 0) == (sum > 0) ? 1 : -1;
  bits += inexact & ~bits & 1 ? outward : 0;
  double odd;
  memcpy(&odd, &bits, sizeof odd);
  return static_cast<float>(odd);
#endif
}

#define RILL_EACH(expression)                       \
  Vec r;                                            \
  for (int i = 0; i < 16; ++i) r.x[i] = expression; \
  return r
RILL_INLINE Vec Set(float x) { RILL_EACH(x); }
RILL_INLINE Vec Zero() { return Set(0.0f); }
RILL_INLINE Vec Load(const float* p) { RILL_EACH(p[i]); }
RILL_INLINE Vec LoadN(const float* p, int n) { RILL_EACH(i < n ? p[i] : 0.0f); }
RILL_INLINE void StoreN(float* p, Vec a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.x[i];
}
RILL_INLINE void Store(float* p, Vec a) { StoreN(p, a, 16); }

RILL_INLINE Vec Add(Vec a, Vec b) { RILL_EACH(a.x[i] + b.x[i]); }
RILL_INLINE Vec Sub(Vec a, Vec b) { RILL_EACH(a.x[i] - b.x[i]); }
RILL_INLINE Vec Mul(Vec a, Vec b) { RILL_EACH(a.x[i] * b.x[i]); }
RILL_INLINE Vec Div(Vec a, Vec b) { RILL_EACH(a.x[i] / b.x[i]); }
RILL_INLINE Vec Sqrt(Vec a) { RILL_EACH(__builtin_sqrtf(a.x[i])); }
RILL_INLINE Vec Fma(Vec a, Vec b, Vec c) { RILL_EACH(FmaOnce(a.x[i], b.x[i], c.x[i])); }
RILL_INLINE Vec Max(Vec a, Vec b) { RILL_EACH(a.x[i] > b.x[i] ? a.x[i] : b.x[i]); }
RILL_INLINE Vec Min(Vec a, Vec b) { RILL_EACH(a.x[i] < b.x[i] ? a.x[i] : b.x[i]); }

RILL_INLINE float Sum(Vec a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) a.x[i] += a.x[i + width];
  }
  return a.x[0];
}
RILL_INLINE float Largest(Vec a) {
  for (int i = 1; i < 16; ++i) a.x[0] = a.x[i] > a.x[0] ? a.x[i] : a.x[0];
  return a.x[0];
}

// In two factors, each a normal number: the first product is exact, the second rounds once.
RILL_INLINE float TimesPow2(float a, float n) {
  const int whole = n == n ? static_cast<int>(n) : 0, half = whole >> 1;  // a is NaN where n is
  return a * FromBits(static_cast<uint32_t>(half + 127) << 23) *
         FromBits(static_cast<uint32_t>(whole - half + 127) << 23);
}
RILL_INLINE Vec TimesPow2(Vec a, Vec n) { RILL_EACH(TimesPow2(a.x[i], n.x[i])); }

RILL_INLINE Vec LoadBf16(const uint16_t* p) {
  RILL_EACH(FromBits(static_cast<uint32_t>(p[i]) << 16));
}
RILL_INLINE Vec LoadBf16N(const uint16_t* p, int n) {
  RILL_EACH(i < n ? FromBits(static_cast<uint32_t>(p[i]) << 16) : 0.0f);
}
RILL_INLINE uint16_t RoundBf16(float f) {
  const uint32_t bits = Bits(f);
  if (f != f) return static_cast<uint16_t>((bits | 0x400000u) >> 16);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
RILL_INLINE void StoreBf16N(uint16_t* p, Vec a, int n) {
  for (int i = 0; i < n; ++i) p[i] = RoundBf16(a.x[i]);
}
RILL_INLINE void StoreBf16(uint16_t* p, Vec a) { StoreBf16N(p, a, 16); }

RILL_INLINE float WidenHalf(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return FromBits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  const float magnitude =
      FromBits(rest << 13) * 5.192296858534828e33f;  // 2^112: also right for subnormal halves
  return FromBits(sign | Bits(magnitude));
}
RILL_INLINE Vec LoadHalf(const uint16_t* p) { RILL_EACH(WidenHalf(p[i])); }
RILL_INLINE Vec LoadHalfN(const uint16_t* p, int n) { RILL_EACH(i < n ? WidenHalf(p[i]) : 0.0f); }

RILL_INLINE Vec LoadQ8(const int8_t* p, Vec scale) {
  RILL_EACH(static_cast<float>(p[i]) * scale.x[i]);
}
RILL_INLINE Vec ScaleNibbles(const uint8_t* p, int shift, Vec scale) {
  RILL_EACH(static_cast<float>(((p[i] >> shift) & 15) - 8) * scale.x[i]);
}
#undef RILL_EACH
RILL_INLINE VecPair LoadQ4(const uint8_t* p, Vec scale) {
  return {ScaleNibbles(p, 0, scale), ScaleNibbles(p, 4, scale)};
}

}  // namespace rill::RILL_SIMD_NAMESPACE
