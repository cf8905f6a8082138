// model/convert/checkpoint.h — a Hugging Face folder seen as one set of named tensors, whatever its
// shards.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/convert/safetensors.h"
#include "model/io/file.h"

namespace rill {

struct CheckpointTensor {
  SafetensorsEntry entry;
  size_t shard;  // index into shards()
};

class Checkpoint {  // Thread-safe: const after Open.
 public:
  struct Shard {
    std::string name;  // without the folder
    std::unique_ptr<ReadableFile> file;
  };

  // Reads the headers of the shards: those that model.safetensors.index.json names, which must
  // agree with them in both directions; without an index model.safetensors; without that all
  // *.safetensors files. Errors name the file first: "model-00002-of-00020.safetensors: tensor
  // ...". A tensor in two shards is an error that names both.
  static absl::StatusOr<std::unique_ptr<const Checkpoint>> Open(FileSystem& fs,
                                                                const std::string& folder);

  const std::vector<Shard>& shards() const { return shards_; }
  const std::vector<CheckpointTensor>& tensors() const {
    return tensors_;
  }  // by shard name, then by offset
  const std::vector<std::string>& left_out() const {
    return left_out_;
  }                                                            // *.safetensors that are no shards
  const CheckpointTensor* Find(absl::string_view name) const;  // null when there is none
  const std::string& ShardName(const CheckpointTensor& t) const { return shards_[t.shard].name; }

  // Reads `bytes` of the tensor from `offset` bytes into it.
  absl::Status Read(const CheckpointTensor& t, uint64_t offset, void* dst, size_t bytes) const;

 private:
  Checkpoint() = default;
  absl::Status AddShard(FileSystem& fs, const std::string& folder, const std::string& name);
  using WeightMap = absl::flat_hash_map<std::string, std::string>;  // tensor -> shard
  absl::Status CheckIndex(const WeightMap& weight_map) const;

  std::vector<Shard> shards_;
  std::vector<CheckpointTensor> tensors_;
  std::vector<std::string> left_out_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

// `status` with "where: " before its message.
absl::Status At(absl::string_view where, const absl::Status& status);

}  // namespace rill
