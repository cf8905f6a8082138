// The element-wise part of a KDA layer before its recurrence, forward and backward, for training on a CPU: short
// convolution, SiLU, normalised queries and keys, decay, and the scaling of both relative to the middle of a chunk.
// One tile is one chunk of one head: everything between reading and writing stays in the first cache.
#include <torch/extension.h>

#include <cmath>

namespace {

constexpr int kC = 32, kD = 128, kTaps = 4;
// A steeper decay counts as this one: half a chunk of it just fits a float32, and nothing is left of 1.1 % either.
constexpr float kSteepest = -4.5f;
using Tile = float[kC][kD];

inline float Load(const at::BFloat16* p) { return static_cast<float>(*p); }

// Without an infinity on the way: -ffast-math does not promise what becomes of one.
inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(x < -80.0f ? 80.0f : -x)); }

struct Shape {
  int64_t rows, length, heads, chunks, width;  // width: projections a token, 3 * heads * kD
};

struct Inputs {
  const at::BFloat16 *p, *raw;
  const float *conv, *a, *dt;
};

// z = convolution of part `part` (0 q, 1 k, 2 v), y = SiLU(z).
void Convolve(const Shape& s, const Inputs& in, int64_t row, int64_t c, int64_t h, int part, Tile& z, Tile& y) {
  const int64_t first = (part * s.heads + h) * kD;
  float tap[kTaps][kD];
  for (int d = 0; d < kD; ++d)
    for (int j = 0; j < kTaps; ++j) tap[j][d] = in.conv[(first + d) * kTaps + j];
  for (int i = 0; i < kC; ++i) {
    float sum[kD] = {};
    for (int j = 0; j < kTaps; ++j) {
      const int64_t t = c * kC + i + j - (kTaps - 1);
      if (t < 0) continue;
      const at::BFloat16* p = in.p + (row * s.length + t) * s.width + first;
      for (int d = 0; d < kD; ++d) sum[d] += tap[j][d] * Load(p + d);
    }
    for (int d = 0; d < kD; ++d) {
      z[i][d] = sum[d];
      y[i][d] = sum[d] * Sigmoid(sum[d]);
    }
  }
}

// scale[i] makes row i of y a unit vector times `length`.
void Units(const Tile& y, float length, float (&scale)[kC]) {
  for (int i = 0; i < kC; ++i) {
    float sum = 0;
    for (int d = 0; d < kD; ++d) sum += y[i][d] * y[i][d];
    scale[i] = length / std::sqrt(sum + 1e-6f);
  }
}

// total = running sum of the decay's logarithm in the chunk; slope = d decay / d raw.
void Decay(const Shape& s, const Inputs& in, int64_t row, int64_t c, int64_t h, Tile& g, Tile& total, Tile& slope) {
  const float a = in.a[h];
  float sum[kD] = {};
  for (int i = 0; i < kC; ++i) {
    const at::BFloat16* raw = in.raw + (row * s.length + c * kC + i) * s.heads * kD + h * kD;
    for (int d = 0; d < kD; ++d) {
      const float x = Load(raw + d) + in.dt[h * kD + d];
      const float e = std::exp(-std::fabs(x));
      g[i][d] = -a * ((x > 0 ? x : 0.0f) + std::log(1.0f + e));
      slope[i][d] = -a * (x > 0 ? 1.0f : e) / (1.0f + e);
      sum[d] += g[i][d] < kSteepest ? kSteepest : g[i][d];
      total[i][d] = sum[d];
    }
  }
}

inline float Bound(float x) { return x > 80.0f ? 80.0f : x < -80.0f ? -80.0f : x; }

float* At(const torch::Tensor& t, const Shape& s, int64_t row, int64_t c, int64_t h, int64_t size) {
  return t.data_ptr<float>() + ((c * s.rows + row) * s.heads + h) * size;
}

Shape ShapeOf(const torch::Tensor& p, const torch::Tensor& a) {
  const int64_t rows = p.size(0), length = p.size(1), heads = a.numel();
  TORCH_CHECK(length % kC == 0 && p.size(2) == 3 * heads * kD && p.is_contiguous());
  return {rows, length, heads, length / kC, 3 * heads * kD};
}

Inputs InputsOf(const torch::Tensor& p, const torch::Tensor& raw, const torch::Tensor& conv, const torch::Tensor& a,
                const torch::Tensor& dt) {
  TORCH_CHECK(raw.is_contiguous() && conv.is_contiguous());
  return {p.data_ptr<at::BFloat16>(), raw.data_ptr<at::BFloat16>(), conv.data_ptr<float>(), a.data_ptr<float>(),
          dt.data_ptr<float>()};
}

template <typename F>
void EachTile(const Shape& s, F f) {
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t c = 0; c < s.chunks; ++c)
      for (int64_t h = 0; h < s.heads; ++h) f(row, c, h);
}

// Returns q, ku, kd, v [chunks, rows * heads, kC, kD] and middle, last [chunks, rows * heads, kD].
std::vector<torch::Tensor> Forward(torch::Tensor p, torch::Tensor raw, torch::Tensor conv, torch::Tensor a,
                                   torch::Tensor dt) {
  const Shape s = ShapeOf(p, a);
  const Inputs in = InputsOf(p, raw, conv, a, dt);
  auto tiles = [&] { return torch::empty({s.chunks, s.rows * s.heads, kC, kD}); };
  torch::Tensor q = tiles(), ku = tiles(), kd = tiles(), v = tiles();
  torch::Tensor middle = torch::empty({s.chunks, s.rows * s.heads, kD}), last = torch::empty_like(middle);
  EachTile(s, [&](int64_t row, int64_t c, int64_t h) {
    alignas(64) Tile z, y, g, total, slope;
    float unit[kC];
    Decay(s, in, row, c, h, g, total, slope);
    float *m = At(middle, s, row, c, h, kD), *l = At(last, s, row, c, h, kD);
    for (int d = 0; d < kD; ++d) m[d] = total[kC / 2 - 1][d], l[d] = total[kC - 1][d];
    Convolve(s, in, row, c, h, 0, z, y);
    Units(y, 1.0f / std::sqrt(static_cast<float>(kD)), unit);
    float* out = At(q, s, row, c, h, kC * kD);
    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) out[i * kD + d] = y[i][d] * unit[i] * std::exp(Bound(total[i][d] - m[d]));
    Convolve(s, in, row, c, h, 1, z, y);
    Units(y, 1.0f, unit);
    float *u = At(ku, s, row, c, h, kC * kD), *n = At(kd, s, row, c, h, kC * kD);
    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) {
        const float k = y[i][d] * unit[i], up = std::exp(Bound(total[i][d] - m[d]));
        u[i * kD + d] = k * up;
        n[i * kD + d] = k / up;
      }
    Convolve(s, in, row, c, h, 2, z, y);
    std::memcpy(At(v, s, row, c, h, kC * kD), y, sizeof(Tile));
  });
  return {q, ku, kd, v, middle, last};
}

// Through normalisation, SiLU and convolution: dx is the gradient of the scaled unit vectors (or of y if !norm).
void Back(const Shape& s, const Inputs& in, int64_t row, int64_t c, int64_t h, int part, bool norm, const Tile& z,
          const Tile& y, const float (&unit)[kC], float length, Tile& dx, float* dp, float* dconv) {
  const int64_t first = (part * s.heads + h) * kD;
  float tap[kTaps][kD], dtap[kTaps][kD] = {};
  for (int d = 0; d < kD; ++d)
    for (int j = 0; j < kTaps; ++j) tap[j][d] = in.conv[(first + d) * kTaps + j];
  for (int i = 0; i < kC; ++i) {
    if (norm) {
      float dot = 0;
      for (int d = 0; d < kD; ++d) dot += dx[i][d] * y[i][d];
      const float r = unit[i] / length;
      for (int d = 0; d < kD; ++d) dx[i][d] = unit[i] * (dx[i][d] - y[i][d] * dot * r * r);
    }
    for (int d = 0; d < kD; ++d) {
      const float sig = Sigmoid(z[i][d]);
      dx[i][d] *= sig * (1.0f + z[i][d] * (1.0f - sig));
    }
    for (int j = 0; j < kTaps; ++j) {
      const int64_t t = c * kC + i + j - (kTaps - 1);
      if (t < 0) continue;
      const int64_t at = (row * s.length + t) * s.width + first;
      const at::BFloat16* p = in.p + at;
      for (int d = 0; d < kD; ++d) {
        dp[at + d] += tap[j][d] * dx[i][d];
        dtap[j][d] += dx[i][d] * Load(p + d);
      }
    }
  }
  for (int d = 0; d < kD; ++d)
    for (int j = 0; j < kTaps; ++j) dconv[(first + d) * kTaps + j] += dtap[j][d];
}

// Gradients of p, raw, conv, a, dt from those of Forward's results. `limit`, `price`: the gradient of
// price * sum(max(0, -g - limit)^2) is added.
std::vector<torch::Tensor> Backward(torch::Tensor p, torch::Tensor raw, torch::Tensor conv, torch::Tensor a,
                                    torch::Tensor dt, std::vector<torch::Tensor> grads, double limit, double price) {
  const Shape s = ShapeOf(p, a);
  const Inputs in = InputsOf(p, raw, conv, a, dt);
  torch::Tensor dp = torch::zeros(p.sizes(), torch::kFloat), draw = torch::empty(raw.sizes(), torch::kFloat);
  torch::Tensor dconv = torch::zeros_like(conv), da = torch::zeros_like(a), ddt = torch::zeros_like(dt);
  for (auto& t : grads) TORCH_CHECK(t.is_contiguous());
  EachTile(s, [&](int64_t row, int64_t c, int64_t h) {
    alignas(64) Tile z, y, g, total, slope, up, dx, dt_;
    float unit[kC], dm[kD], dl[kD];
    Decay(s, in, row, c, h, g, total, slope);
    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) up[i][d] = std::exp(Bound(total[i][d] - total[kC / 2 - 1][d]));
    const float *gm = At(grads[4], s, row, c, h, kD), *gl = At(grads[5], s, row, c, h, kD);
    for (int d = 0; d < kD; ++d) dm[d] = gm[d], dl[d] = gl[d];
    float *pp = dp.data_ptr<float>(), *pc = dconv.data_ptr<float>();

    const float* gq = At(grads[0], s, row, c, h, kC * kD);
    Convolve(s, in, row, c, h, 0, z, y);
    const float qlength = 1.0f / std::sqrt(static_cast<float>(kD));
    Units(y, qlength, unit);
    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) {
        dx[i][d] = gq[i * kD + d] * up[i][d];
        dt_[i][d] = dx[i][d] * y[i][d] * unit[i];
      }
    Back(s, in, row, c, h, 0, true, z, y, unit, qlength, dx, pp, pc);

    const float *gu = At(grads[1], s, row, c, h, kC * kD), *gd = At(grads[2], s, row, c, h, kC * kD);
    Convolve(s, in, row, c, h, 1, z, y);
    Units(y, 1.0f, unit);
    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) {
        const float k = y[i][d] * unit[i], du = gu[i * kD + d] * up[i][d], dd = gd[i * kD + d] / up[i][d];
        dx[i][d] = du + dd;
        dt_[i][d] += k * (du - dd);
      }
    Back(s, in, row, c, h, 1, true, z, y, unit, 1.0f, dx, pp, pc);

    const float* gv = At(grads[3], s, row, c, h, kC * kD);
    Convolve(s, in, row, c, h, 2, z, y);
    std::memcpy(dx, gv, sizeof(Tile));
    Back(s, in, row, c, h, 2, false, z, y, unit, 1.0f, dx, pp, pc);

    for (int i = 0; i < kC; ++i)
      for (int d = 0; d < kD; ++d) dm[d] -= dt_[i][d];
    for (int d = 0; d < kD; ++d) dt_[kC / 2 - 1][d] += dm[d], dt_[kC - 1][d] += dl[d];
    float sum[kD] = {}, sum_a = 0;
    float* pdt = ddt.data_ptr<float>() + h * kD;
    for (int i = kC - 1; i >= 0; --i) {
      float* out = draw.data_ptr<float>() + (row * s.length + c * kC + i) * s.heads * kD + h * kD;
      for (int d = 0; d < kD; ++d) {
        sum[d] += dt_[i][d];
        const float over = -g[i][d] - static_cast<float>(limit);
        const float dg = (g[i][d] < kSteepest ? 0.0f : sum[d]) - (over > 0 ? 2.0f * static_cast<float>(price) * over : 0.0f);
        out[d] = dg * slope[i][d];
        pdt[d] += out[d];
        sum_a += dg * g[i][d];
      }
    }
    da.data_ptr<float>()[h] += sum_a / in.a[h];
  });
  return {dp, draw, dconv, da, ddt};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &Forward);
  m.def("backward", &Backward);
}
