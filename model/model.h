// model/model.h — weights, config, tokenizer and graph on one device: everything about a model that never changes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"
#include "kernels/ops/layer_weights.h"
#include "model/config.h"
#include "model/io/file.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/reader.h"
#include "model/weights/tensor_table.h"
#include "model/weights/weight_traffic.h"
#include "model/weights/weights.h"

namespace rill {

struct ModelOptions {
  std::string device = "cpu";        // as OpenDevice takes it
  int n_threads = 0;                 // host threads; 0: all this process may use
  int sm_budget = 0;                 // GPU multiprocessors; 0: all
  LoadMode load_mode = LoadMode::kCopy;
  bool verify = true;                // check every tensor's CRC while it is loaded
  LoadProgress progress;             // may cancel the load
};

// All weights bound to the shapes the config asks for: the graph as data.
struct BoundWeights {
  MatrixView embedding;              // [V, D]
  MatrixView lm_head;                // [V, D]; the embedding when tied
  TensorView final_norm;             // [D] f32
  std::vector<LayerWeights> layers;
};

class Model {  // Thread-safe: const after Open. Sessions share it and keep it alive.
 public:
  // Errors as ModelFile::Open, LoadWeights and OpenDevice; Unimplemented when the device lacks an operator (named).
  static absl::StatusOr<std::shared_ptr<const Model>> Open(FileSystem& fs, const std::string& path,
                                                           const ModelOptions& options);
  // Seeded random weights in memory, no tokenizer: for benchmarks and tests.
  static absl::StatusOr<std::shared_ptr<const Model>> Synthesize(const ModelConfig& config, const Recipe& recipe,
                                                                 uint64_t seed, const ModelOptions& options);

  Device& device() const { return *device_; }
  const ModelConfig& config() const { return config_; }
  const Recipe& recipe() const { return recipe_; }
  const BoundWeights& weights() const { return bound_; }
  const WeightTraffic& weight_traffic() const { return weight_traffic_; }
  const Fingerprint& fingerprint() const { return fingerprint_; }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }   // null when the file has none
  uint64_t weight_bytes() const { return weights_->tensor_bytes(); }
  uint64_t device_weight_bytes() const { return weights_->device_bytes(); }

 private:
  Model() = default;
  absl::Status Bind();
  std::unique_ptr<Device> device_;   // first in, last out: the weights borrow it
  ModelConfig config_;
  Recipe recipe_;
  WeightTraffic weight_traffic_;
  std::unique_ptr<const Weights> weights_;
  BoundWeights bound_;
  Fingerprint fingerprint_{};
  std::unique_ptr<const Tokenizer> tokenizer_;
};

}  // namespace rill
