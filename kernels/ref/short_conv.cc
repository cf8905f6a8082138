#include "kernels/ops/short_conv.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "kernels/ref/scalar.h"
#include "kernels/ref/table.h"

namespace rill::ref {
namespace {

constexpr int64_t kMaxTaps = 8;

// One channel from the first token to the last; `window` is the tail, oldest first.
void ConvolveChannel(const ShortConvArgs& args, int64_t c) {
  const int64_t T = args.x.dim[0], C = args.x.dim[1], W = args.weight.dim[1];
  const int64_t R = args.ring.empty() ? 0 : args.ring.dim[0];
  const float* weight = args.weight.f32() + c * W;
  float* tail = args.tail.f32() + c * (W - 1);
  float window[kMaxTaps];
  std::copy(tail, tail + W - 1, window);
  size_t next_export = 0;
  for (int64_t t = 0; t < T; ++t) {
    window[W - 1] = args.x.f32()[t * C + c];
    float y = 0;
    for (int64_t j = 0; j < W; ++j) y += weight[j] * window[j];
    args.out.f32()[t * C + c] = y * Sigmoid(y);
    if (t >= T - R) args.ring.f32()[(args.position + t) % R * C + c] = window[W - 1];
    std::copy(window + 1, window + W, window);
    if (next_export < args.exports.size() && args.exports[next_export].after == t + 1) {
      float* state = static_cast<float*>(args.exports[next_export++].state);
      std::copy(window, window + W - 1, state + c * (W - 1));
    }
  }
  std::copy(window, window + W - 1, tail);
}

}  // namespace

absl::Status ShortConv(Device&, const ShortConvArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  for (int64_t c = 0; c < args.x.dim[1]; ++c) ConvolveChannel(args, c);
  return absl::OkStatus();
}

}  // namespace rill::ref
