#include "model/convert/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

constexpr int64_t kStripElements =
    1 << 16;  // what a worker decodes at a time: 256 KiB of floats stay in its L2 cache

template <typename Stored>
void Widen(const char* raw, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    Stored stored;
    std::memcpy(&stored, raw + i * sizeof stored, sizeof stored);
    out[i] = ToFloat(stored);
  }
}

void Decode(const std::string& dtype, const char* raw, int64_t n, float* out) {
  if (dtype == "F32")
    std::memcpy(out, raw, n * sizeof(float));
  else if (dtype == "BF16")
    Widen<Bf16>(raw, n, out);
  else
    Widen<F16>(raw, n, out);
}

// The largest magnitude that a format holds: scales are float16, and bf16 rounds what lies half a
// step above its largest value to infinity.
float Largest(WeightFormat format) {
  constexpr float kLargestScale = 65504.0f;
  switch (format) {
    case WeightFormat::kF32:
      return std::numeric_limits<float>::max();
    case WeightFormat::kBf16:
      return BitsToFloat(0x7f7f7fffu);
    case WeightFormat::kQ8:
      return 127 * kLargestScale;
    case WeightFormat::kQ4:
      return 8 * kLargestScale;
  }
  return 0;
}

// Index of the first element that is larger than `limit` or not a number, or -1.
int64_t FirstUnfit(const float* x, int64_t n, float limit) {
  const auto fits = [limit](float v) { return std::fabs(v) <= limit; };
  bool all_fit = true;
  for (int64_t i = 0; i < n; ++i) all_fit &= fits(x[i]);  // without an exit the loop is vectorized
  return all_fit ? -1 : std::find_if_not(x, x + n, fits) - x;
}

}  // namespace

struct MatrixEncoder::Job {
  const CheckpointTensor& source;
  WeightFormat format;
  int64_t rows, cols;
  int64_t block_begin;  // first row of the block

  uint64_t source_row() const { return SafetensorsElementBytes(source.entry.dtype) * cols; }
  int64_t strip_rows() const { return std::max<int64_t>(1, kStripElements / cols); }
};

MatrixEncoder::MatrixEncoder(const Checkpoint& checkpoint, ThreadPool& pool, uint64_t block_bytes)
    : checkpoint_(checkpoint), pool_(pool), block_bytes_(block_bytes), workers_(pool.size()) {}

absl::Status MatrixEncoder::Encode(const CheckpointTensor& source, WeightFormat format,
                                   int64_t rows, int64_t cols, const Sink& sink,
                                   const Progress& progress, QuantError* error) {
  Job job{source, format, rows, cols, 0};
  const int64_t block_rows = std::clamp<int64_t>(block_bytes_ / job.source_row(), 1, rows);
  Reserve(job, block_rows);
  for (; job.block_begin < rows; job.block_begin += block_rows) {
    const int64_t n = std::min(block_rows, rows - job.block_begin);
    RILL_RETURN_IF_ERROR(EncodeBlock(job, n, error));
    RILL_RETURN_IF_ERROR(sink(values_.data(), RowBytes(format, cols) * n));
    RILL_RETURN_IF_ERROR(progress(job.source_row() * n));
  }
  const char zeros[kPlaneAlignment] = {};
  const uint64_t scales_at = ScalesOffset(format, rows, cols);
  RILL_RETURN_IF_ERROR(sink(zeros, scales_at - ValuesBytes(format, rows, cols)));
  RILL_RETURN_IF_ERROR(sink(scales_.data(), scales_.size()));
  return sink(zeros, MatrixBytes(format, rows, cols) - scales_at - scales_.size());
}

// All memory of the work is taken here, on the calling thread.
void MatrixEncoder::Reserve(const Job& job, int64_t block_rows) {
  values_.resize(RowBytes(job.format, job.cols) * block_rows);
  scales_.resize(ScalesBytes(job.format, job.rows, job.cols));
  errors_.resize(block_rows);
  for (Worker& w : workers_) {
    w.raw.resize(job.source_row() * job.strip_rows());
    w.exact.resize(job.cols * job.strip_rows());
    w.coded.resize(job.cols);
  }
}

absl::Status MatrixEncoder::EncodeBlock(const Job& job, int64_t n_rows, QuantError* error) {
  for (Worker& w : workers_) {
    w.status = absl::OkStatus();
    w.bad_index = -1;
  }
  const int64_t strip = job.strip_rows();
  pool_.For(n_rows, strip, [&](int64_t begin, int64_t end, int worker) {
    Worker& w = workers_[worker];
    for (int64_t row = begin; row < end && w.status.ok() && w.bad_index < 0; row += strip) {
      EncodeStrip(job, row, std::min(strip, end - row), w);
    }
  });
  for (const Worker& w : workers_) RILL_RETURN_IF_ERROR(w.status);
  RILL_RETURN_IF_ERROR(BadElement(job));
  for (int64_t i = 0; i < n_rows; ++i) {
    error->squared_error += errors_[i].squared_error;
    error->squared_value += errors_[i].squared_value;
  }
  return absl::OkStatus();
}

// Rows [row, row + n) of the block.
void MatrixEncoder::EncodeStrip(const Job& job, int64_t row, int64_t n, Worker& w) {
  const int64_t first = job.block_begin + row;
  w.status =
      checkpoint_.Read(job.source, job.source_row() * first, w.raw.data(), job.source_row() * n);
  if (!w.status.ok()) return;
  Decode(job.source.entry.dtype, w.raw.data(), n * job.cols, w.exact.data());
  if (const int64_t bad = FirstUnfit(w.exact.data(), n * job.cols, Largest(job.format)); bad >= 0) {
    w.bad_index = first * job.cols + bad;
    w.bad_value = w.exact[bad];
    return;
  }
  const uint64_t scale_bytes = ScalesBytes(job.format, 1, job.cols);
  char* values = values_.data() + RowBytes(job.format, job.cols) * row;
  char* scales = scale_bytes == 0 ? nullptr : scales_.data() + scale_bytes * first;
  QuantizeRows(job.format, w.exact.data(), n, job.cols, values, scales);
  const MatrixView coded{job.format, n, job.cols, values, scales};
  for (int64_t i = 0; i < n; ++i) {
    const absl::Span<const float> exact(w.exact.data() + i * job.cols, job.cols);
    DequantizeRow(coded, i, w.coded.data());
    errors_[row + i] = QuantError();
    errors_[row + i].Add(exact, w.coded);
  }
}

absl::Status MatrixEncoder::BadElement(const Job& job) const {
  const Worker* first = nullptr;
  for (const Worker& w : workers_) {
    if (w.bad_index >= 0 && (first == nullptr || w.bad_index < first->bad_index)) first = &w;
  }
  if (first == nullptr) return absl::OkStatus();
  const std::string where =
      absl::StrCat("tensor ", job.source.entry.name, " (", checkpoint_.ShardName(job.source),
                   "): element ", first->bad_index, " (row ", first->bad_index / job.cols,
                   ", column ", first->bad_index % job.cols, ")");
  if (!std::isfinite(first->bad_value)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " is ", std::isnan(first->bad_value) ? "not a number" : "infinite"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, " is ", first->bad_value, ", out of range for ", AbslView(Name(job.format))));
}

}  // namespace rill
