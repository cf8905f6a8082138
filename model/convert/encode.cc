#include "model/convert/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr int64_t kStripElements = 1 << 16;  // what a worker decodes at a time: 256 KiB of floats stay in its L2 cache

template <typename Stored>
void Widen(const char* raw, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    Stored stored;
    std::memcpy(&stored, raw + i * sizeof stored, sizeof stored);
    out[i] = ToFloat(stored);
  }
}

void Decode(const std::string& dtype, const char* raw, int64_t n, float* out) {
  if (dtype == "F32") std::memcpy(out, raw, n * sizeof(float));
  else if (dtype == "BF16") Widen<Bf16>(raw, n, out);
  else Widen<F16>(raw, n, out);
}

// Index of the first element that is not finite, or -1.
int64_t FirstNotFinite(const float* x, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; ++i) bad |= (FloatToBits(x[i]) & 0x7f800000u) == 0x7f800000u;
  if (bad == 0) return -1;
  return std::find_if_not(x, x + n, [](float v) { return std::isfinite(v); }) - x;
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

absl::Status MatrixEncoder::Encode(const CheckpointTensor& source, WeightFormat format, int64_t rows, int64_t cols,
                                   const Sink& sink, const Progress& progress, QuantError* error) {
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
  w.status = checkpoint_.Read(job.source, job.source_row() * first, w.raw.data(), job.source_row() * n);
  if (!w.status.ok()) return;
  Decode(job.source.entry.dtype, w.raw.data(), n * job.cols, w.exact.data());
  if (const int64_t bad = FirstNotFinite(w.exact.data(), n * job.cols); bad >= 0) {
    return w.Refuse(first * job.cols + bad, w.exact[bad]);
  }
  const uint64_t scale_bytes = ScalesBytes(job.format, 1, job.cols);
  char* values = values_.data() + RowBytes(job.format, job.cols) * row;
  char* scales = scale_bytes == 0 ? nullptr : scales_.data() + scale_bytes * first;
  QuantizeRows(job.format, w.exact.data(), n, job.cols, values, scales);
  MeasureStrip(job, row, {job.format, n, job.cols, values, scales}, w);
}

// Reads the codes back: what they lost, and whether a value overflowed on the way.
void MatrixEncoder::MeasureStrip(const Job& job, int64_t row, const MatrixView& coded, Worker& w) {
  for (int64_t i = 0; i < coded.rows; ++i) {
    const absl::Span<const float> exact(w.exact.data() + i * job.cols, job.cols);
    DequantizeRow(coded, i, w.coded.data());
    if (const int64_t bad = FirstNotFinite(w.coded.data(), job.cols); bad >= 0) {
      return w.Refuse((job.block_begin + row + i) * job.cols + bad, exact[bad]);
    }
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
      absl::StrCat("tensor ", job.source.entry.name, " (", checkpoint_.ShardName(job.source), "): element ",
                   first->bad_index, " (row ", first->bad_index / job.cols, ", column ", first->bad_index % job.cols, ")");
  if (!std::isfinite(first->bad_value)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " is ", std::isnan(first->bad_value) ? "not a number" : "infinite"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(where, " is ", first->bad_value, ", out of range for ", std::string(Name(job.format))));
}

}  // namespace rill
