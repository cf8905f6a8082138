// model/convert/encode.h — one tensor of a checkpoint to one matrix in a block format, in blocks of
// rows.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "kernels/base/thread_pool.h"
#include "kernels/ops/matrix.h"
#include "kernels/ops/quantize.h"
#include "model/convert/checkpoint.h"

namespace rill {

class MatrixEncoder {  // One caller at a time.
 public:
  // Takes the next bytes of the encoded matrix.
  using Sink = std::function<absl::Status(const void* bytes, size_t n)>;
  // Told how many bytes of the checkpoint a block used; an error stops the work.
  using Progress = std::function<absl::Status(uint64_t source_bytes)>;

  // Borrows both. Blocks hold about `block_bytes` of source; memory beyond that is the block's
  // codes and, for the quantised formats, the matrix's scales (an eighteenth of it for q8, a tenth
  // for q4).
  MatrixEncoder(const Checkpoint& checkpoint, ThreadPool& pool, uint64_t block_bytes = 16 << 20);

  // Reads `source` as [rows, cols] and hands MatrixBytes(format, rows, cols) bytes to `sink`, the
  // same for any number of threads. Adds to `error` what the format lost. InvalidArgument names the
  // tensor and the first element that is not finite, or too large for the format.
  absl::Status Encode(const CheckpointTensor& source, WeightFormat format, int64_t rows,
                      int64_t cols, const Sink& sink, const Progress& progress, QuantError* error);

 private:
  struct Job;
  struct Worker {
    std::vector<char> raw;
    std::vector<float> exact, coded;
    absl::Status status;     // of reading
    int64_t bad_index = -1;  // in the tensor
    float bad_value = 0;
  };

  void Reserve(const Job& job, int64_t block_rows);
  absl::Status EncodeBlock(const Job& job, int64_t n_rows, QuantError* error);
  void EncodeStrip(const Job& job, int64_t row, int64_t n, Worker& worker);
  absl::Status BadElement(const Job& job) const;

  const Checkpoint& checkpoint_;
  ThreadPool& pool_;
  const uint64_t block_bytes_;
  std::vector<Worker> workers_;
  std::vector<char> values_;  // of one block
  std::vector<char> scales_;  // of the whole matrix
  std::vector<QuantError>
      errors_;  // a row each: added in order, so that threads do not change the sum
};

}  // namespace rill
