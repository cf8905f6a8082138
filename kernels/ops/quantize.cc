#include "kernels/ops/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "kernels/ops/decode_group.h"

namespace rill {
namespace {

// One group, padded with zeros, and what every candidate scale needs to know about it.
struct Group {
  alignas(64) float x[kGroup];
  float extreme;  // the element of the largest magnitude, with its sign
};

Group LoadGroup(const float* source, int64_t n) {
  Group group;
  if (n >= kGroup) {
    memcpy(group.x, source, sizeof group.x);
  } else {
    std::fill(group.x, group.x + kGroup, 0.0f);
    std::copy(source, source + n, group.x);
  }
  float low = 0, high = 0;
  for (int i = 0; i < kGroup; ++i) {
    low = group.x[i] < low ? group.x[i] : low;
    high = group.x[i] > high ? group.x[i] : high;
  }
  group.extreme = -low > high ? low : high;
  return group;
}

// The nearest float16 that is finite, as stored and as the value the kernels will see.
F16 StoredScale(float scale) { return ToF16(std::clamp(scale, -65504.0f, 65504.0f)); }

// A group's codes, as floats, under `scale`: the nearest integer, ties to even, limited to
// [kLowest, kHighest].
//
// Adding 1.5 * 2^23 leaves no bits for a fraction, so the sum's bits are those of the constant plus
// the integer. The limits are applied to the bits: they order like the floats they are, and every
// target has integer vectors for it, where a comparison of floats would be a branch for each
// element.
template <int kLowest, int kHighest>
inline void Round(const float* x, float scale, float* codes) {
  constexpr float kMagic = 12582912.0f;
  constexpr int32_t kMagicBits = 0x4B400000;
  const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
  for (int i = 0; i < kGroup; ++i) {
    int32_t bits = static_cast<int32_t>(FloatToBits(x[i] * inverse + kMagic));
    bits = bits < kMagicBits + kLowest ? kMagicBits + kLowest : bits;
    bits = bits > kMagicBits + kHighest ? kMagicBits + kHighest : bits;
    codes[i] = BitsToFloat(static_cast<uint32_t>(bits)) - kMagic;
  }
}

// A tree, so that each level is one vector operation. Destroys the terms.
inline float Sum(float terms[kGroup]) {
  for (int i = 0; i < 16; ++i) terms[i] += terms[i + 16];
  for (int i = 0; i < 8; ++i) terms[i] += terms[i + 8];
  for (int i = 0; i < 4; ++i) terms[i] += terms[i + 4];
  return (terms[0] + terms[2]) + (terms[1] + terms[3]);
}

inline float SquaredError(const float* x, const float* codes, float scale) {
  alignas(64) float terms[kGroup];
  for (int i = 0; i < kGroup; ++i) {
    const float error = x[i] - codes[i] * scale;
    terms[i] = error * error;
  }
  return Sum(terms);
}

// The scale that suits these codes best: sum(x c) / sum(c c). 0 when all codes are 0.
float LeastSquaresScale(const float* x, const float* codes) {
  alignas(64) float xc[kGroup], cc[kGroup];
  for (int i = 0; i < kGroup; ++i) {
    xc[i] = x[i] * codes[i];
    cc[i] = codes[i] * codes[i];
  }
  const float norm = Sum(cc);
  return norm == 0 ? 0.0f : Sum(xc) / norm;
}

// A scale as it will be stored, and the error of the group when its codes are the nearest under
// that scale.
struct Choice {
  F16 scale;
  float error;
};

Choice TryScale(const float* x, float scale) {
  const F16 stored = StoredScale(scale);
  alignas(64) float codes[kGroup];
  Round<-8, 7>(x, ToFloat(stored), codes);
  return {stored, SquaredError(x, codes, ToFloat(stored))};
}

// The extreme element is given every code it could reasonably have: -8 and 7, the plain choices of
// either sign, then values that spend more range on the small elements (the extreme is clipped) or
// less. On normally distributed weights these nine and the refinement come within 0.3 % of the
// error of an exhaustive search; twice as many gain half of that.
constexpr float kExtremeCodes[] = {-8.0f, 7.0f, -9.0f, -8.5f, -7.33f, -6.67f, -6.0f, 6.33f, 8.0f};

// The best of those, then twice: its codes, the scale that suits them best, and the codes nearest
// under that.
F16 SearchScale(const Group& group) {
  Choice best = TryScale(group.x, group.extreme / kExtremeCodes[0]);
  for (size_t i = 1; i < std::size(kExtremeCodes); ++i) {
    const Choice choice = TryScale(group.x, group.extreme / kExtremeCodes[i]);
    if (choice.error < best.error) best = choice;
  }
  for (int round = 0; round < 2; ++round) {
    alignas(64) float codes[kGroup];
    Round<-8, 7>(group.x, ToFloat(best.scale), codes);
    const Choice refined = TryScale(group.x, LeastSquaresScale(group.x, codes));
    if (refined.error < best.error) best = refined;
  }
  return best.scale;
}

void EncodeQ4(const Group& group, uint8_t* values, F16* scale) {
  *scale = group.extreme == 0 ? F16{0} : SearchScale(group);
  alignas(64) float codes[kGroup];
  Round<-8, 7>(group.x, ToFloat(*scale), codes);
  for (int i = 0; i < kGroup / 2; ++i) {
    const int low = static_cast<int>(codes[i]) + 8, high = static_cast<int>(codes[i + 16]) + 8;
    values[i] = static_cast<uint8_t>(low | high << 4);
  }
}

void EncodeQ8(const Group& group, int8_t* values, F16* scale) {
  *scale = StoredScale(std::fabs(group.extreme) / 127.0f);
  float codes[kGroup];
  Round<-127, 127>(group.x, ToFloat(*scale), codes);
  for (int i = 0; i < kGroup; ++i) values[i] = static_cast<int8_t>(codes[i]);
}

void QuantizeGroups(WeightFormat format, const float* source, int64_t n_rows, int64_t cols,
                    char* values, F16* scales) {
  const int64_t groups = GroupsPerRow(cols);
  const uint64_t group_bytes = RowBytes(format, kGroup);
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      const Group group = LoadGroup(source + row * cols + g * kGroup, cols - g * kGroup);
      char* out = values + (row * groups + g) * group_bytes;
      if (format == WeightFormat::kQ8) {
        EncodeQ8(group, reinterpret_cast<int8_t*>(out), scales + row * groups + g);
      } else {
        EncodeQ4(group, reinterpret_cast<uint8_t*>(out), scales + row * groups + g);
      }
    }
  }
}

}  // namespace

void QuantizeRows(WeightFormat format, const float* source, int64_t n_rows, int64_t cols,
                  void* values, void* scales) {
  const int64_t n = n_rows * cols;
  switch (format) {
    case WeightFormat::kF32:
      memcpy(values, source, n * sizeof(float));
      return;
    case WeightFormat::kBf16:
      for (int64_t i = 0; i < n; ++i) static_cast<Bf16*>(values)[i] = ToBf16(source[i]);
      return;
    case WeightFormat::kQ8:
    case WeightFormat::kQ4:
      QuantizeGroups(format, source, n_rows, cols, static_cast<char*>(values),
                     static_cast<F16*>(scales));
      return;
  }
}

void DequantizeRow(const MatrixView& matrix, int64_t row, float* out) {
  float weights[kGroup];
  for (int64_t group = 0; group < GroupsPerRow(matrix.cols); ++group) {
    const int n = DecodeGroup(matrix, row, group, weights);
    std::copy(weights, weights + n, out + group * kGroup);
  }
}

double QuantError::RelativeRms() const {
  return squared_value == 0 ? 0 : std::sqrt(squared_error / squared_value);
}

void QuantError::Add(absl::Span<const float> exact, absl::Span<const float> coded) {
  for (size_t i = 0; i < exact.size(); ++i) {
    const double error = static_cast<double>(exact[i]) - coded[i];
    squared_error += error * error;
    squared_value += static_cast<double>(exact[i]) * exact[i];
  }
}

}  // namespace rill
