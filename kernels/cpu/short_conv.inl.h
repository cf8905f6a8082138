// The short convolution on a range of channels. kernels/cpu; see simd.h and isa.h.
//
// y = weight[0] * p[t-W+1], then one fused multiply-add per further tap, j ascending; out =
// Silu(y).

namespace rill::RILL_SIMD_NAMESPACE {

using cpu::ConvChannels;

inline constexpr int64_t kConvBlock =
    256;  // channels: their taps and tail lie transposed on the stack
inline constexpr int64_t kMaxTaps = 8;

// taps[j][i] = p[i * n + j] and back. The compiler turns a fixed n into shuffles.
RILL_INLINE void SplitTaps(const float* p, int64_t n_channels, int64_t n,
                           float (*taps)[kConvBlock]) {
  for (int64_t i = 0; i < n_channels; ++i) {
    for (int64_t j = 0; j < n; ++j) taps[j][i] = p[i * n + j];
  }
}
RILL_INLINE void JoinTaps(const float* const* taps, int64_t n_channels, int64_t n, float* p) {
  for (int64_t i = 0; i < n_channels; ++i) {
    for (int64_t j = 0; j < n; ++j) p[i * n + j] = taps[j][i];
  }
}

// Channels [first, first + n_channels), all tokens, W taps.
RILL_INLINE void ConvBlock(const ConvChannels& conv, int64_t first, int64_t n_channels, int64_t W) {
  float weight[kMaxTaps][kConvBlock], tail[kMaxTaps][kConvBlock];
  const int64_t T = conv.T, C = conv.C;
  SplitTaps(conv.weight + first * W, n_channels, W, weight);
  SplitTaps(conv.tail + first * (W - 1), n_channels, W - 1, tail);
  const auto input = [&](int64_t t) { return t < 0 ? tail[W - 1 + t] : conv.x + t * C + first; };

  const float* p[kMaxTaps];
  for (int64_t j = 0; j < W - 1; ++j) p[j] = input(T - (W - 1) + j);
  JoinTaps(p, n_channels, W - 1,
           conv.tail + first * (W - 1));  // before the outputs: they may replace the inputs
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t j = 0; j < W; ++j) p[j] = input(t - (W - 1) + j);
    RILL_FOR_LANES(i, lanes, n_channels) {
      Vec y = Mul(LoadSome(weight[0] + i, lanes), LoadSome(p[0] + i, lanes));
      for (int64_t j = 1; j < W; ++j)
        y = Fma(LoadSome(weight[j] + i, lanes), LoadSome(p[j] + i, lanes), y);
      StoreSome(conv.out + t * C + first + i, Silu(y), lanes);
    }
  }
}

void ShortConv(const ConvChannels& conv) {
  for (int64_t c = conv.begin; c < conv.end; c += kConvBlock) {
    if (conv.W == 4 && conv.end - c >= kConvBlock) {
      ConvBlock(conv, c, kConvBlock, 4);  // every size known: the case of the released models
    } else {
      ConvBlock(conv, c, conv.end - c < kConvBlock ? conv.end - c : kConvBlock, conv.W);
    }
  }
}

}  // namespace rill::RILL_SIMD_NAMESPACE
