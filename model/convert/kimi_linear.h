// model/convert/kimi_linear.h — the released checkpoint's tensor names and shapes, and ours
// (model/weights/tensor_table.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/config.h"
#include "model/convert/checkpoint.h"
#include "model/weights/tensor_table.h"

namespace rill {

// One tensor of the checkpoint, and the matrix that it is read as.
struct SourceTensor {
  std::string name;
  int64_t rows, cols;
  std::vector<std::vector<uint64_t>> shapes;  // accepted; the released one first
};

// What `spec` is made from: one tensor, or w1, w3 and w2 of an expert in the order of the record.
// Internal when the table has a name that this map does not know.
absl::StatusOr<std::vector<SourceTensor>> SourcesOf(const ModelConfig& config,
                                                    const TensorSpec& spec);

// The other direction: our name for a tensor of the checkpoint, "layers.1.moe.expert.7.gate" for a
// part of a record; empty when the name is not one of Kimi Linear's. The layer may lie outside the
// config.
std::string RillNameOf(const ModelConfig& config, absl::string_view checkpoint_name);

// A tensor of the table with what it is read from. Borrows the checkpoint.
struct BoundTensor {
  struct Part {
    const CheckpointTensor* source;
    int64_t rows, cols;
  };
  TensorSpec spec;
  std::vector<Part> parts;
};

// Finds a source for every tensor of `table` and a use for every tensor of the checkpoint.
// InvalidArgument names the first tensor that is missing, surplus, of a type that holds no weights
// or of a shape that the config contradicts, with both shapes. A tied model may bring its lm_head
// along: `tied_head` is set then, and the caller compares.
absl::StatusOr<std::vector<BoundTensor>> BindCheckpoint(const ModelConfig& config,
                                                        const std::vector<TensorSpec>& table,
                                                        const Checkpoint& checkpoint,
                                                        const CheckpointTensor** tied_head);

inline constexpr absl::string_view kEmbeddingName = "model.embed_tokens.weight";
inline constexpr absl::string_view kLmHeadName = "lm_head.weight";

}  // namespace rill
