// The short convolution on a range of channels. kernels/cpu; see simd.h and isa.h.
//
// y = weight[0] * p[t-W+1], then one fused multiply-add per further tap, j ascending; out = Silu(y).

namespace rill::RILL_SIMD_NAMESPACE {

using cpu::ConvChannels;

inline constexpr int64_t kConvBlock = 256;  // channels: their taps and tail lie transposed on the stack
inline constexpr int64_t kMaxTaps = 8;

// taps[j][i] = p[c * n + j] of channel c = first + i.
RILL_INLINE void TransposeTaps(const float* p, int64_t first, int64_t n_channels, int64_t n, float (*taps)[kConvBlock]) {
  p += first * n;
  for (int64_t i = 0; i < n_channels; ++i) {
    for (int64_t j = 0; j < n; ++j) taps[j][i] = p[i * n + j];
  }
}

// Channels [first, first + n_channels), all tokens.
RILL_INLINE void ConvBlock(const ConvChannels& conv, int64_t first, int64_t n_channels) {
  float weight[kMaxTaps][kConvBlock], tail[kMaxTaps][kConvBlock];
  const int64_t W = conv.W, T = conv.T, C = conv.C;
  TransposeTaps(conv.weight, first, n_channels, W, weight);
  TransposeTaps(conv.tail, first, n_channels, W - 1, tail);
  const auto input = [&](int64_t t) { return t < 0 ? tail[W - 1 + t] : conv.x + t * C + first; };

  // Before the outputs: they may take the place of the inputs.
  for (int64_t j = 0; j < W - 1; ++j) {
    const float* from = input(T - (W - 1) + j);
    for (int64_t i = 0; i < n_channels; ++i) conv.tail[(first + i) * (W - 1) + j] = from[i];
  }
  for (int64_t t = 0; t < T; ++t) {
    const float* p[kMaxTaps];
    for (int64_t j = 0; j < W; ++j) p[j] = input(t - (W - 1) + j);
    RILL_FOR_LANES(i, lanes, n_channels) {
      Vec y = Mul(LoadSome(weight[0] + i, lanes), LoadSome(p[0] + i, lanes));
      for (int64_t j = 1; j < W; ++j) y = Fma(LoadSome(weight[j] + i, lanes), LoadSome(p[j] + i, lanes), y);
      StoreSome(conv.out + t * C + first + i, Silu(y), lanes);
    }
  }
}

void ShortConv(const ConvChannels& conv) {
  for (int64_t c = conv.begin; c < conv.end; c += kConvBlock) {
    ConvBlock(conv, c, conv.end - c < kConvBlock ? conv.end - c : kConvBlock);
  }
}

}  // namespace rill::RILL_SIMD_NAMESPACE
