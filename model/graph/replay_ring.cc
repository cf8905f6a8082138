#include "model/graph/replay_ring.h"

#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr int kParts = 6;  // k, u, g and the convolutions' inputs of q, k, v

}  // namespace

uint64_t ReplayRing::Bytes(const ModelConfig& config, int64_t window) {
  const int64_t floats = kParts * config.n_kda_layers() * Slots(config, window) * config.kda_width();
  return sizeof(float) * static_cast<uint64_t>(floats);
}

absl::StatusOr<ReplayRing> ReplayRing::Create(Device& device, const ModelConfig& config, int64_t window) {
  ReplayRing ring;
  RILL_ASSIGN_OR_RETURN(ring.buffer_, Buffer::Allocate(device, Bytes(config, window)));
  device.TouchedSparsely(ring.buffer_.data(), ring.buffer_.bytes());  // a token writes one row of every plane
  ring.slots_ = Slots(config, window);
  ring.heads_ = config.kda_heads;
  ring.dim_ = config.kda_head_dim;
  int32_t next = 0;
  for (const LayerKind& kind : config.layers) ring.index_.push_back(kind.mixer == MixerKind::kKda ? next++ : -1);
  return ring;
}

float* ReplayRing::Part(int64_t layer, int which) const {
  return buffer_.as<float>() + (index_[layer] * kParts + which) * slots_ * heads_ * dim_;
}

KdaRing ReplayRing::records(int64_t layer) const {
  if (slots_ == 0) return {};
  return {F32View(Part(layer, 0), slots_, heads_, dim_), F32View(Part(layer, 1), slots_, heads_, dim_),
          F32View(Part(layer, 2), slots_, heads_, dim_)};
}

TensorView ReplayRing::conv_inputs(int64_t layer, int which) const {
  if (slots_ == 0) return {};
  return F32View(Part(layer, 3 + which), slots_, heads_ * dim_);
}

}  // namespace rill
