// model/convert/convert.h — a Hugging Face checkpoint folder to one *.rill file.
//
// The folder holds config.json and either model.safetensors or shards, with or without an index;
// tokenizer files are taken along as blobs when they are there. Tensors stream through in blocks of
// rows: memory does not grow with the checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/clock.h"
#include "kernels/ops/quantize.h"
#include "model/config.h"
#include "model/io/file.h"
#include "model/weights/tensor_table.h"

namespace rill {

struct ConvertOptions {
  std::string input;   // folder
  std::string output;  // file; PlanConversion does not need it
  std::string recipe;  // bf16, q8 or q4
  int threads = 1;     // counts the calling one; the file is the same for any number
  Clock* clock = Clock::Steady();
  // Bytes of the checkpoint done, and in all. Returning true cancels: Cancelled, and no file is
  // left.
  std::function<bool(uint64_t done, uint64_t total)> progress;
};

// What will be made, from the config and the headers alone.
struct ConvertPlan {
  ModelConfig config;
  Recipe recipe;
  std::vector<TensorSpec> table;
  struct Blob {
    std::string name;
    uint64_t bytes;
  };
  std::vector<Blob> blobs;
  uint64_t input_bytes = 0;  // of the tensors that are used
  uint64_t file_bytes = 0;
  std::vector<std::string> notes;  // a sentence each: what the user may want to know, no error
};

// What a role cost. Roles without a tensor do not appear.
struct RoleReport {
  Role role;
  WeightFormat format;
  int64_t tensors = 0;
  uint64_t bytes = 0;  // in the file, without alignment between tensors
  QuantError error;    // over all tensors of the role
  std::string worst;   // tensor with the largest relative RMS error; empty when nothing was lost
  double worst_rms = 0;
};

struct ConvertReport {
  ConvertPlan plan;
  std::vector<RoleReport> roles;  // in the order of Role
  double seconds = 0;
};

// Checks everything that can be checked without reading a weight. Errors are those of Convert.
absl::StatusOr<ConvertPlan> PlanConversion(const ConvertOptions& options, FileSystem& fs);

// InvalidArgument: the checkpoint is not a Kimi Linear model, contradicts itself or holds a weight
// that is not finite; the message names the tensor and both numbers. DataLoss: a file is cut short.
// NotFound: folder or file. AlreadyExists: the output is there and is no *.rill file (one that is
// gets replaced). On any error the output is as it was before.
absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options, FileSystem& fs);

// Tensors, formats and bytes per role of a table, without errors; the start of a report.
std::vector<RoleReport> SummarizeRoles(const std::vector<TensorSpec>& table);

}  // namespace rill
