// Rows of a weight matrix as sixteen-lane vectors, decoded in registers. kernels/cpu; see simd.h
// and isa.h.
//
// A decoded weight is exact in float32 in every format: a code has at most 8 significant bits, a
// scale 11.

namespace rill::RILL_SIMD_NAMESPACE {

using cpu::Rows;
using cpu::Weights;

inline constexpr int64_t kScaleBatch = 16;  // scales converted at once: sixteen groups, 512 inputs

template <WeightFormat F>
struct WeightRow {
  const uint8_t* values;
  const uint16_t* scales;

  RILL_INLINE WeightRow At(const Weights& w, int64_t row) {
    return {w.values + row * w.row_bytes,
            IsQuantizedFormat() ? w.scales + row * w.groups : nullptr};
  }
  RILL_INLINE constexpr bool IsQuantizedFormat() {
    return F == WeightFormat::kQ8 || F == WeightFormat::kQ4;
  }

  // Inputs [k, k + lanes) of an f32 or bf16 row.
  __attribute__((always_inline)) Vec Plain(int64_t k, int lanes) const {
    if constexpr (F == WeightFormat::kF32) {
      const float* p = reinterpret_cast<const float*>(values) + k;
      return lanes == 16 ? Load(p) : LoadN(p, lanes);
    } else {
      const uint16_t* p = reinterpret_cast<const uint16_t*>(values) + k;
      return lanes == 16 ? LoadBf16(p) : LoadBf16N(p, lanes);
    }
  }

  // The 32 inputs of one group of a q8 or q4 row.
  __attribute__((always_inline)) VecPair Group(int64_t group, Vec scale) const {
    if constexpr (F == WeightFormat::kQ8) {
      const int8_t* p = reinterpret_cast<const int8_t*>(values) + 32 * group;
      return {LoadQ8(p, scale), LoadQ8(p + 16, scale)};
    } else {
      return LoadQ4(values + 16 * group, scale);
    }
  }

  // Scales [group, group + n) as floats, n at most kScaleBatch.
  __attribute__((always_inline)) void Scales(int64_t group, int64_t n, float* out) const {
    Store(out, n == kScaleBatch ? LoadHalf(scales + group)
                                : LoadHalfN(scales + group, static_cast<int>(n)));
  }
};

// out[0 .. 16 * ceil(n / 16)) = inputs [k, k + n) of the row, zero beyond the last column. k is a
// multiple of 512; q8 and q4 write whole groups.
template <WeightFormat F>
RILL_INLINE void DecodeRun(const Weights& w, int64_t row, int64_t k, int64_t n, float* out) {
  const WeightRow<F> source = WeightRow<F>::At(w, row);
  if constexpr (!WeightRow<F>::IsQuantizedFormat()) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) Store(out + i, source.Plain(k + i, 16));
    if (i < n) Store(out + i, source.Plain(k + i, static_cast<int>(n - i)));
  } else {
    float scales[kScaleBatch];
    const int64_t end = (k + n + 31) / 32;
    for (int64_t group = k / 32; group < end; group += kScaleBatch) {
      const int64_t batch = end - group < kScaleBatch ? end - group : kScaleBatch;
      source.Scales(group, batch, scales);
      for (int64_t g = 0; g < batch; ++g, out += 32) {
        const VecPair inputs = source.Group(group + g, Set(scales[g]));
        Store(out, inputs.low);
        Store(out + 16, inputs.high);
      }
    }
  }
}

// Calls f.operator()<F>() for the format of `w`.
template <typename Function>
RILL_INLINE void ForFormat(const Weights& w, const Function& f) {
  switch (w.format) {
    case WeightFormat::kF32:
      return f.template operator()<WeightFormat::kF32>();
    case WeightFormat::kBf16:
      return f.template operator()<WeightFormat::kBf16>();
    case WeightFormat::kQ8:
      return f.template operator()<WeightFormat::kQ8>();
    case WeightFormat::kQ4:
      return f.template operator()<WeightFormat::kQ4>();
  }
}

// One row as `cols` floats.
void DecodeRow(const Weights& w, int64_t row, float* out) {
  ForFormat(w, [&]<WeightFormat F>() {
    float run[512];
    for (int64_t k = 0; k < w.cols; k += 512) {
      const int64_t n = w.cols - k < 512 ? w.cols - k : 512;
      DecodeRun<F>(w, row, k, n, run);
      RILL_FOR_LANES(i, lanes, n) StoreSome(out + k + i, LoadSome(run + i, lanes), lanes);
    }
  });
}

}  // namespace rill::RILL_SIMD_NAMESPACE
