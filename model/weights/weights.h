// model/weights/weights.h — all weights of a model on one device: immutable after construction, shared by sessions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "kernels/device/buffer.h"
#include "kernels/device/device.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"
#include "model/io/file.h"
#include "model/weights/tensor_table.h"

namespace rill {

class Weights {  // Thread-safe: const after it is built.
 public:
  // Lookups answer NotFound with the name, InvalidArgument with both shapes.
  absl::StatusOr<MatrixView> Matrix(std::string_view name, int64_t rows, int64_t cols) const;
  absl::StatusOr<TensorView> Vector(std::string_view name, int64_t n) const;  // [n] f32
  // Expert records "<prefix>.0" .. "<prefix>.<n-1>".
  absl::StatusOr<ExpertsView> Experts(std::string_view prefix, int n, int64_t hidden, int64_t width) const;
  bool Has(std::string_view name) const;

  // Bytes of device memory the weights own (0 when they are mapped in place).
  uint64_t device_bytes() const { return device_bytes_; }
  // Bytes of all tensors, owned or mapped.
  uint64_t tensor_bytes() const { return tensor_bytes_; }

 private:
  friend class WeightsBuilder;
  struct Entry {
    TensorSpec spec;
    const void* data;
  };
  absl::flat_hash_map<std::string, Entry> entries_;
  absl::flat_hash_map<std::string, std::vector<const void*>> host_records_;  // by expert prefix
  std::vector<Buffer> buffers_;                    // what the device owns, record address arrays included
  absl::flat_hash_map<std::string, const void* const*> device_records_;
  std::vector<std::unique_ptr<MappedRegion>> mappings_;
  uint64_t device_bytes_ = 0;
  uint64_t tensor_bytes_ = 0;
};

// Assembles a Weights tensor by tensor. Borrows `device` until Build; the weights borrow it for life.
class WeightsBuilder {
 public:
  WeightsBuilder(Device& device, std::vector<TensorSpec> table);
  // One slab for all tensors of the table, or ResourceExhausted with both numbers. Not needed for mapped tensors.
  absl::Status Allocate();
  // Copies host bytes of the tensor in (they are spec.bytes long).
  absl::Status Upload(const TensorSpec& spec, const void* host_bytes);
  // Where a host device's tensor lies in the slab, for filling in place; null on other devices.
  void* HostAddress(const TensorSpec& spec);
  // Uses bytes that the mapping holds, in place; host devices only.
  void UseMapped(const TensorSpec& spec, const void* bytes);
  void KeepMapping(std::unique_ptr<MappedRegion> mapping);
  absl::StatusOr<std::unique_ptr<const Weights>> Build();

 private:
  Device& device_;
  std::vector<TensorSpec> table_;
  absl::flat_hash_map<std::string, uint64_t> slab_offset_;
  Buffer slab_;
  std::unique_ptr<Weights> weights_;
};

// Bytes Allocate() will ask the device for, expert address arrays included. Pure: the planner calls it.
uint64_t PlannedWeightBytes(const std::vector<TensorSpec>& table);

// Seeded random weights of any shape, scaled so that activations keep their size through the layers; used by tests and
// benchmarks. The same (config, recipe, seed) gives the same bytes on every machine and any number of threads.
absl::StatusOr<std::unique_ptr<const Weights>> SynthesizeWeights(Device& device, const ModelConfig& config,
                                                                 const Recipe& recipe, uint64_t seed);

}  // namespace rill
