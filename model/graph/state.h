// model/graph/state.h — everything a timeline has computed: KDA states, convolution tails, MLA rows, position. A value:
// it can be cloned and compared, and nothing else about a session depends on the past.
//
// Layout "state-kv-f32-v1": KDA states [head][key][value] float32, convolution tails [channel of q, k, v][oldest..newest]
// float32 (projection outputs before the activation), cache rows latent then rope key, little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "kernels/device/device.h"
#include "kernels/ops/mla_cache.h"
#include "model/config.h"
#include "model/graph/plan.h"
#include "model/layers/kda.h"

namespace rill {

// Where each layer's part lies. Pure.
struct StateLayout {
  struct Kda {
    uint64_t recurrent, tail;        // offsets in the constant-size part
  };
  std::vector<Kda> kda;              // by layer; unused entries of MLA layers are zero
  std::vector<uint64_t> mla_offset;  // by layer: offset in a page
  uint64_t fixed_bytes = 0;          // the constant-size part
  uint64_t page_bytes = 0;           // 128 tokens of all MLA layers, a multiple of 16 KiB; 0 without MLA
  static StateLayout Make(const ModelConfig& config, DType mla_dtype);
};

class SequenceState {  // One caller at a time.
 public:
  // Allocates states and pages for shape.max_tokens, zeroed. Borrows `device` and `config`.
  static absl::StatusOr<std::unique_ptr<SequenceState>> Create(Device& device, const ModelConfig& config,
                                                               const SessionShape& shape);

  int64_t position() const { return position_; }   // tokens fed so far
  int64_t max_tokens() const { return shape_.max_tokens; }
  void Advance(int64_t n_tokens) { position_ += n_tokens; }

  KdaState kda(int64_t layer) const;
  MlaCacheView mla(int64_t layer) const;

  // The constant-size part, for copies made by the pass in flight.
  const Buffer& fixed() const { return fixed_; }
  uint64_t allocated_bytes() const;

  absl::Status Reset();  // as after Create
  // A second state with the same content. The bytes are those of Create.
  absl::StatusOr<std::unique_ptr<SequenceState>> Clone() const;
  // Same position, and the same bits in all states, tails and rows up to it.
  absl::StatusOr<bool> Equal(const SequenceState& other) const;

 private:
  SequenceState(Device& device, const ModelConfig& config, const SessionShape& shape);
  absl::Status AllocateBuffers();
  Device& device_;
  const ModelConfig& config_;
  SessionShape shape_;
  StateLayout layout_;
  Buffer fixed_, cache_, table_;
  std::vector<void*> pages_;   // what `table_` holds; host devices read it in place
  int64_t position_ = 0;
};

}  // namespace rill
