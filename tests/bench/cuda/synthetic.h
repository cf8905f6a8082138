// tests/bench/cuda/synthetic.h — the 48B model's shape with made-up weights, in device memory, for timing.
//
// Codes are random bits and scales fit the width, so activations stay in range and routing is spread evenly. Nothing is
// zero: zeros run faster than weights do.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/fused_decoder.h"

namespace rill::bench {

struct SyntheticOptions {
  WeightFormat format = WeightFormat::kQ4;
  int n_experts = 256;
  int64_t context = 4096;   // tokens the cache has room for; its rows are filled
  int sessions = 1;         // copies of the KDA states
};

class Synthetic {
 public:
  static absl::StatusOr<std::unique_ptr<Synthetic>> Make(Device& device, const SyntheticOptions& options);

  // The model with session `i`'s states.
  DecoderSpec spec(int i = 0) const;
  uint64_t weight_bytes_per_token() const { return token_bytes_; }

 private:
  explicit Synthetic(Device& device) : device_(device) {}
  absl::Status Build(const SyntheticOptions& options);
  absl::StatusOr<void*> Bytes(size_t bytes);
  absl::StatusOr<TensorView> Floats(int64_t n, float low, float high);
  absl::StatusOr<MatrixView> Matrix(WeightFormat format, int64_t rows, int64_t cols);
  absl::Status Fill(const MatrixView& matrix);
  absl::Status AddKda(LayerWeights& w);
  absl::Status AddMla(LayerWeights& w);
  absl::Status AddGlu(GluWeights& w, int64_t width);
  absl::Status AddMoe(MoeWeights& w);
  absl::Status AddStates(int sessions);
  absl::Status AddCache(int64_t context);

  Device& device_;
  SyntheticOptions options_;
  std::vector<Buffer> buffers_;
  std::vector<LayerWeights> layers_;
  std::vector<std::vector<DecoderLayerState>> states_;
  DecoderSpec spec_ = {};
  uint64_t token_bytes_ = 0;
  uint32_t seed_ = 1;
};

}  // namespace rill::bench
