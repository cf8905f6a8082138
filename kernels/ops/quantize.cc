#include "kernels/ops/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ops/decode_group.h"

namespace rill {
namespace {

constexpr int kLanes = 8;  // partial sums per loop, so that compilers may use vectors without reordering anything

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

// Nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction. Unlike nearbyint it
// is two instructions on every target.
float RoundToInteger(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

// A group's codes, as floats, under `scale`; codes are limited first, so that a tiny scale cannot overflow the trick.
template <int kLowest, int kHighest>
void Round(const float* x, float scale, float* codes) {
  const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
  for (int i = 0; i < kGroup; ++i) {
    float code = x[i] * inverse;
    code = code < kLowest ? kLowest : code;
    code = code > kHighest ? kHighest : code;
    codes[i] = RoundToInteger(code);
  }
}

float Sum(const float lanes[kLanes]) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
  return sum;
}

float SquaredError(const float* x, const float* codes, float scale) {
  float lanes[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float error = x[i + lane] - codes[i + lane] * scale;
      lanes[lane] += error * error;
    }
  }
  return Sum(lanes);
}

// The scale that suits these codes best: sum(x c) / sum(c c). 0 when all codes are 0.
float LeastSquaresScale(const float* x, const float* codes) {
  float xc[kLanes] = {}, cc[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      xc[lane] += x[i + lane] * codes[i + lane];
      cc[lane] += codes[i + lane] * codes[i + lane];
    }
  }
  const float norm = Sum(cc);
  return norm == 0 ? 0.0f : Sum(xc) / norm;
}

struct Coded {
  alignas(64) float codes[kGroup];
  F16 scale;
  float error;
};

void RoundQ4(const Group& group, float scale, Coded* out) {
  out->scale = StoredScale(scale);
  const float stored = ToFloat(out->scale);
  Round<-8, 7>(group.x, stored, out->codes);
  out->error = SquaredError(group.x, out->codes, stored);
}

// Codes stay, the scale moves to their least-squares optimum; then codes are rounded anew under that scale.
void RefineQ4(const Group& group, Coded* best) {
  Coded moved = *best;
  moved.scale = StoredScale(LeastSquaresScale(group.x, best->codes));
  moved.error = SquaredError(group.x, moved.codes, ToFloat(moved.scale));
  if (moved.error < best->error) *best = moved;
  Coded rounded;
  RoundQ4(group, ToFloat(moved.scale), &rounded);
  if (rounded.error < best->error) *best = rounded;
}

// The extreme element is given every code it could reasonably have: 7 and -8, the plain choices of either sign, then
// values that spend range on the small elements (the extreme is clipped) or precision on the large ones. Steps of a
// third of a code are where finer ones stop paying.
constexpr float kExtremeCodes[] = {-8.0f, 7.0f,  -7.67f, -7.33f, -7.0f, -6.67f, -6.33f, -6.0f, -5.5f,
                                   -8.4f, -9.0f, -9.7f,  7.33f,  6.67f, 6.33f,  6.0f,   5.5f,  7.8f, 8.4f};

Coded SearchQ4(const Group& group) {
  Coded best, candidate;
  RoundQ4(group, group.extreme / kExtremeCodes[0], &best);
  for (size_t i = 1; i < std::size(kExtremeCodes); ++i) {
    RoundQ4(group, group.extreme / kExtremeCodes[i], &candidate);
    if (candidate.error < best.error) best = candidate;
  }
  for (int round = 0; round < 2; ++round) RefineQ4(group, &best);
  return best;
}

void EncodeQ4(const Group& group, uint8_t* values, F16* scale) {
  if (group.extreme == 0) {
    memset(values, 0x88, kGroup / 2);
    *scale = F16{0};
    return;
  }
  const Coded best = SearchQ4(group);
  for (int i = 0; i < kGroup / 2; ++i) {
    const int low = static_cast<int>(best.codes[i]) + 8, high = static_cast<int>(best.codes[i + 16]) + 8;
    values[i] = static_cast<uint8_t>(low | high << 4);
  }
  *scale = best.scale;
}

void EncodeQ8(const Group& group, int8_t* values, F16* scale) {
  *scale = StoredScale(std::fabs(group.extreme) / 127.0f);
  float codes[kGroup];
  Round<-127, 127>(group.x, ToFloat(*scale), codes);
  for (int i = 0; i < kGroup; ++i) values[i] = static_cast<int8_t>(codes[i]);
}

void QuantizeGroups(WeightFormat format, const float* source, int64_t n_rows, int64_t cols, char* values, F16* scales) {
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

void QuantizeRows(WeightFormat format, const float* source, int64_t n_rows, int64_t cols, void* values, void* scales) {
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
      QuantizeGroups(format, source, n_rows, cols, static_cast<char*>(values), static_cast<F16*>(scales));
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

double QuantError::RelativeRms() const { return squared_value == 0 ? 0 : std::sqrt(squared_error / squared_value); }

void QuantError::Add(absl::Span<const float> exact, absl::Span<const float> coded) {
  for (size_t i = 0; i < exact.size(); ++i) {
    const double error = static_cast<double>(exact[i]) - coded[i];
    squared_error += error * error;
    squared_value += static_cast<double>(exact[i]) * exact[i];
  }
}

}  // namespace rill
