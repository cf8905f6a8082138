// kernels/cpu/simd_neon.h — simd.h for AArch64 Advanced SIMD: a Vec is four q registers.
#pragma once

#include <arm_neon.h>

namespace rill::RILL_SIMD_NAMESPACE {

struct Vec {
  float32x4_t q[4];  // lanes 4 i .. 4 i + 3
};
struct VecPair {
  Vec low, high;
};

inline constexpr int kTileRows = 2, kTileCols = 2, kDotSums = 4, kStripe = 1, kSpreadCols = 2,
                     kSpreadVecs = 2;

RILL_INLINE Vec Set(float x) {
  return {{vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}};
}
RILL_INLINE Vec Zero() { return Set(0.0f); }
RILL_INLINE Vec Load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
RILL_INLINE Vec LoadN(const float* p, int n) {
  float padded[16] = {};
  for (int i = 0; i < n; ++i) padded[i] = p[i];
  return Load(padded);
}
RILL_INLINE void Store(float* p, Vec a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.q[i]);
}
RILL_INLINE void StoreN(float* p, Vec a, int n) {
  float whole[16];
  Store(whole, a);
  for (int i = 0; i < n; ++i) p[i] = whole[i];
}

#define RILL_EACH(expression)                      \
  Vec r;                                           \
  for (int i = 0; i < 4; ++i) r.q[i] = expression; \
  return r
RILL_INLINE Vec Add(Vec a, Vec b) { RILL_EACH(vaddq_f32(a.q[i], b.q[i])); }
RILL_INLINE Vec Sub(Vec a, Vec b) { RILL_EACH(vsubq_f32(a.q[i], b.q[i])); }
RILL_INLINE Vec Mul(Vec a, Vec b) { RILL_EACH(vmulq_f32(a.q[i], b.q[i])); }
RILL_INLINE Vec Div(Vec a, Vec b) { RILL_EACH(vdivq_f32(a.q[i], b.q[i])); }
RILL_INLINE Vec Sqrt(Vec a) { RILL_EACH(vsqrtq_f32(a.q[i])); }
RILL_INLINE Vec Fma(Vec a, Vec b, Vec c) { RILL_EACH(vfmaq_f32(c.q[i], a.q[i], b.q[i])); }
// By selection and not by fmax, which treats a NaN otherwise than the definition does.
RILL_INLINE Vec Max(Vec a, Vec b) {
  RILL_EACH(vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
RILL_INLINE Vec Min(Vec a, Vec b) {
  RILL_EACH(vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}

RILL_INLINE float Sum(Vec a) {
  const float32x4_t four = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
RILL_INLINE float Largest(Vec a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.q[0], a.q[1]), vmaxq_f32(a.q[2], a.q[3])));
}

// In two factors, each a normal number: the first product is exact, the second rounds once.
RILL_INLINE float32x4_t TimesPow2(float32x4_t a, float32x4_t n) {
  const int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1), bias = vdupq_n_s32(127);
  const int32x4_t first = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t second = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
  return vmulq_f32(vmulq_f32(a, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second));
}
RILL_INLINE Vec TimesPow2(Vec a, Vec n) { RILL_EACH(TimesPow2(a.q[i], n.q[i])); }

RILL_INLINE Vec LoadBf16(const uint16_t* p) {
  RILL_EACH(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
RILL_INLINE Vec LoadBf16N(const uint16_t* p, int n) {
  uint16_t padded[16] = {};
  for (int i = 0; i < n; ++i) padded[i] = p[i];
  return LoadBf16(padded);
}

RILL_INLINE uint16x4_t RoundBf16(float32x4_t a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16);
}
RILL_INLINE void StoreBf16(uint16_t* p, Vec a) {
  for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, RoundBf16(a.q[i]));
}
RILL_INLINE void StoreBf16N(uint16_t* p, Vec a, int n) {
  uint16_t whole[16];
  StoreBf16(whole, a);
  for (int i = 0; i < n; ++i) p[i] = whole[i];
}

RILL_INLINE Vec LoadHalf(const uint16_t* p) {
  RILL_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
RILL_INLINE Vec LoadHalfN(const uint16_t* p, int n) {
  uint16_t padded[16] = {};
  for (int i = 0; i < n; ++i) padded[i] = p[i];
  return LoadHalf(padded);
}

RILL_INLINE Vec ScaleCodes(int8x16_t codes, Vec scale) {
  const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_s8(vget_high_s8(codes));
  const int32x4_t wide[4] = {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
                             vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))};
  RILL_EACH(vmulq_f32(vcvtq_f32_s32(wide[i]), scale.q[i]));
}
#undef RILL_EACH
RILL_INLINE Vec LoadQ8(const int8_t* p, Vec scale) { return ScaleCodes(vld1q_s8(p), scale); }
RILL_INLINE VecPair LoadQ4(const uint8_t* p, Vec scale) {
  const uint8x16_t bytes = vld1q_u8(p);
  const int8x16_t eight = vdupq_n_s8(8);
  const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
  const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
  return {ScaleCodes(vsubq_s8(low, eight), scale), ScaleCodes(vsubq_s8(high, eight), scale)};
}

}  // namespace rill::RILL_SIMD_NAMESPACE
