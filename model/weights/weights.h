// model/weights/weights.h — all weights of a model on one device: immutable after construction,
// shared by sessions.
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
  absl::StatusOr<TensorView> Vector(std::string_view name,
                                    int64_t n) const;  // [n] f32; n is rows * cols
  // Expert records "<prefix>.0" .. "<prefix>.<n-1>".
  absl::StatusOr<ExpertsView> Experts(std::string_view prefix, int n, int64_t hidden,
                                      int64_t width) const;
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
  const Entry* Find(std::string_view name) const;

  absl::flat_hash_map<std::string, Entry> entries_;
  absl::flat_hash_map<std::string, const void* const*>
      records_;  // expert addresses by prefix, where the device reads
  std::vector<std::vector<const void*>> host_records_;  // those of mapped weights
  std::vector<Buffer> buffers_;                         // what the device owns
  std::vector<std::unique_ptr<MappedRegion>> mappings_;
  uint64_t device_bytes_ = 0;
  uint64_t tensor_bytes_ = 0;
};

// Assembles a Weights tensor by tensor. Borrows `device` until Build; the weights borrow it for
// life. Either Allocate() and fill every tensor, or UseMapped() for every tensor. Specs are those
// of the table.
class WeightsBuilder {
 public:
  WeightsBuilder(Device& device, std::vector<TensorSpec> table);
  // Lets tensor `name` use the bytes of tensor `of`, which must have the same format and shape,
  // instead of its own. Before Allocate.
  absl::Status Share(const std::string& name, const std::string& of);
  bool IsShared(const TensorSpec& spec) const { return shared_.contains(spec.name); }
  // One slab for all tensors of the table, or ResourceExhausted with both numbers. Not needed for
  // mapped tensors.
  absl::Status Allocate();
  // Copies host bytes of the tensor in: all spec.bytes of them, or `n` of them from `offset` into
  // the tensor.
  absl::Status Upload(const TensorSpec& spec, const void* host_bytes);
  absl::Status UploadPart(const TensorSpec& spec, uint64_t offset, const void* host_bytes,
                          size_t n);
  // Where a host device's tensor lies in the slab, for filling in place; null on other devices.
  void* HostAddress(const TensorSpec& spec);
  // Uses bytes that the mapping holds, in place; host devices only.
  void UseMapped(const TensorSpec& spec, const void* bytes);
  void KeepMapping(std::unique_ptr<MappedRegion> mapping);
  // FailedPrecondition when a tensor has no bytes. The builder is spent.
  absl::StatusOr<std::unique_ptr<const Weights>> Build();

 private:
  char* Address(const TensorSpec& spec) const;
  absl::Status BindRecords(const std::string& prefix, std::vector<const void*> addresses,
                           uint64_t slab_offset);

  Device& device_;
  std::vector<TensorSpec> table_;
  absl::flat_hash_map<std::string, std::string> shared_;
  absl::flat_hash_map<std::string, uint64_t> slab_offset_;
  uint64_t records_offset_ = 0;  // of the expert address arrays in the slab
  Buffer slab_;
  std::unique_ptr<Weights> weights_;
};

// Bytes Allocate() will ask the device for, expert address arrays included. Pure: the planner calls
// it.
uint64_t PlannedWeightBytes(const std::vector<TensorSpec>& table);

// Seeded random weights of any shape, scaled so that activations keep their size through the
// layers; used by tests and benchmarks. The same (config, recipe, seed) gives the same bytes on
// every machine and any number of threads.
//
// `distinct_experts` > 0 makes only that many expert records per layer; expert e uses the bytes of
// record e % distinct_experts. A machine can then carry the 48B shape without its 28 GB, which is
// right for memory plans and correctness but flatters speed: shared experts stay in the caches.
absl::StatusOr<std::unique_ptr<const Weights>> SynthesizeWeights(Device& device,
                                                                 const ModelConfig& config,
                                                                 const Recipe& recipe,
                                                                 uint64_t seed,
                                                                 int64_t distinct_experts = 0);

}  // namespace rill
