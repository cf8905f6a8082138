// kernels/base/dtype.h — element types of activations, states and caches, and the bf16/fp16 conversions.
//
// Usable from .cc and .cu. Conversions to a narrower type round to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__CUDACC__)
#define RILL_HOST_DEVICE __host__ __device__
#else
#define RILL_HOST_DEVICE
#endif

namespace rill {

enum class DType : uint8_t { kF32 = 0, kBf16 = 1, kF16 = 2, kI32 = 3, kI8 = 4, kU8 = 5 };

constexpr int64_t SizeOf(DType t) {
  switch (t) {
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBf16:
    case DType::kF16: return 2;
    case DType::kI8:
    case DType::kU8: return 1;
  }
  return 0;
}

constexpr std::string_view Name(DType t) {
  switch (t) {
    case DType::kF32: return "f32";
    case DType::kBf16: return "bf16";
    case DType::kF16: return "f16";
    case DType::kI32: return "i32";
    case DType::kI8: return "i8";
    case DType::kU8: return "u8";
  }
  return "?";
}

// Storage of a bfloat16: the upper half of a float32.
struct Bf16 {
  uint16_t bits;
};

// Storage of an IEEE half.
struct F16 {
  uint16_t bits;
};

RILL_HOST_DEVICE inline float BitsToFloat(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

RILL_HOST_DEVICE inline uint32_t FloatToBits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

RILL_HOST_DEVICE inline float ToFloat(Bf16 x) { return BitsToFloat(uint32_t{x.bits} << 16); }

// A NaN stays a NaN (its quiet bit is set, so that truncation cannot make it an infinity).
RILL_HOST_DEVICE inline Bf16 ToBf16(float f) {
  const uint32_t bits = FloatToBits(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return Bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return Bf16{static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

RILL_HOST_DEVICE inline float ToFloat(F16 h) {
  const uint32_t sign = uint32_t{h.bits & 0x8000u} << 16;
  const uint32_t exponent = (h.bits >> 10) & 0x1fu;
  const uint32_t mantissa = h.bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return BitsToFloat(sign | FloatToBits(magnitude));
  }
  if (exponent == 31) return BitsToFloat(sign | 0x7f800000u | (mantissa << 13));
  return BitsToFloat(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

RILL_HOST_DEVICE inline F16 ToF16(float f) {
  const uint32_t bits = FloatToBits(f);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return F16{static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return F16{static_cast<uint16_t>(sign | 0x7c00u)};  // >= 65520
  if (magnitude < 0x38800000u) {  // below 2^-14: let the float adder do the rounding
    const float shifted = BitsToFloat(magnitude) + 0.5f;
    return F16{static_cast<uint16_t>(sign | (FloatToBits(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return F16{static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace rill
