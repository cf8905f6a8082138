#include "tests/support/rig.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/base/status.h"
#include "kernels/ops/quantize.h"

namespace rill::test {
namespace {

TensorView MakeTensor(void* data, DType dtype, std::initializer_list<int64_t> dims) {
  TensorView view{data, dtype, static_cast<int>(dims.size()), {}};
  std::copy(dims.begin(), dims.end(), view.dim);
  return view;
}

// A rig without memory cannot go on, and tests have nowhere to return this to.
void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

std::vector<char> Encode(WeightFormat format, const std::vector<float>& values, int64_t rows,
                         int64_t cols) {
  std::vector<char> bytes(MatrixBytes(format, rows, cols));
  QuantizeRows(format, values.data(), rows, cols, bytes.data(),
               IsQuantized(format) ? bytes.data() + ScalesOffset(format, rows, cols) : nullptr);
  return bytes;
}

}  // namespace

void* Rig::Allocate(size_t bytes) {
  auto buffer = Buffer::Allocate(device_, bytes);
  Require(buffer.status());
  buffers_.push_back(*std::move(buffer));
  return buffers_.back().data();
}

void* Rig::Upload(const void* data, size_t bytes) {
  void* memory = Allocate(bytes);
  Require(device_.CopyIn(memory, data, bytes));
  return memory;
}

void Rig::Download(void* to, const void* from, size_t bytes) {
  Require(device_.CopyOut(to, from, bytes));
}

TensorView Rig::In(const std::vector<float>& values, std::initializer_list<int64_t> dims) {
  return MakeTensor(Upload(values.data(), values.size() * sizeof(float)), DType::kF32, dims);
}

TensorView Rig::In(const std::vector<int32_t>& values, std::initializer_list<int64_t> dims) {
  return MakeTensor(Upload(values.data(), values.size() * sizeof(int32_t)), DType::kI32, dims);
}

TensorView Rig::Out(std::initializer_list<int64_t> dims, DType dtype) {
  TensorView view = MakeTensor(nullptr, dtype, dims);
  view.data = Allocate(view.bytes());
  Require(device_.Fill(view.data, 0xFF, view.bytes()));
  return view;
}

TensorView Rig::Workspace(uint64_t bytes) { return Out({static_cast<int64_t>(bytes)}, DType::kU8); }

MatrixView Rig::Matrix(WeightFormat format, const std::vector<float>& values, int64_t rows,
                       int64_t cols) {
  const std::vector<char> bytes = Encode(format, values, rows, cols);
  return BindMatrix(format, rows, cols, Upload(bytes.data(), bytes.size()));
}

ExpertsView Rig::Experts(WeightFormat format, const std::vector<std::vector<float>>& gate_up_down,
                         int64_t hidden, int64_t width) {
  const ExpertLayout layout = MakeExpertLayout(format, hidden, width);
  std::vector<void*> records;
  for (size_t e = 0; e < gate_up_down.size(); e += 3) {
    std::vector<char> record(layout.bytes);
    const auto place = [&](const std::vector<float>& values, uint64_t offset, int64_t rows,
                           int64_t cols) {
      const std::vector<char> bytes = Encode(format, values, rows, cols);
      std::copy(bytes.begin(), bytes.end(), record.begin() + static_cast<int64_t>(offset));
    };
    place(gate_up_down[e], layout.gate, width, hidden);
    place(gate_up_down[e + 1], layout.up, width, hidden);
    place(gate_up_down[e + 2], layout.down, hidden, width);
    records.push_back(Upload(record.data(), record.size()));
  }
  ExpertsView view;
  view.format = format;
  view.n_experts = static_cast<int>(records.size());
  view.hidden = hidden;
  view.width = width;
  view.record =
      static_cast<const void* const*>(Upload(records.data(), records.size() * sizeof(void*)));
  return view;
}

MlaCacheView Rig::Cache(DType dtype, int64_t latent, int64_t rope, int64_t n_tokens, int layers,
                        int layer) {
  MlaCacheView cache;
  cache.dtype = dtype;
  cache.latent = latent;
  cache.rope = rope;
  const int64_t part = kPageTokens * cache.row_bytes();
  cache.layer_offset = layer * part;
  pages_.clear();
  for (int64_t page = 0; page < CeilDiv(n_tokens, kPageTokens); ++page) {
    pages_.push_back(Out({layers * part}, DType::kU8).data);
  }
  cache.pages = static_cast<void* const*>(Upload(pages_.data(), pages_.size() * sizeof(void*)));
  return cache;
}

// A page at a time: a call for each row is what a tool would spend its time on.
void Rig::WriteCacheRows(const MlaCacheView& cache, const std::vector<float>& rows) {
  MlaCacheView host_view = cache;
  host_view.pages = pages_.data();
  const int64_t width = cache.latent + cache.rope, n_tokens = static_cast<int64_t>(rows.size()) / width;
  std::vector<Bf16> narrow(kPageTokens * width);
  for (int64_t t = 0; t < n_tokens; t += kPageTokens) {
    const int64_t n = std::min(kPageTokens, n_tokens - t);
    const float* first = rows.data() + t * width;
    std::transform(first, first + n * width, narrow.begin(), [](float x) { return ToBf16(x); });
    const void* source = cache.dtype == DType::kBf16 ? static_cast<const void*>(narrow.data()) : first;
    Require(device_.CopyIn(host_view.row(t), source, n * cache.row_bytes()));
  }
}

std::vector<float> Rig::ReadCacheRows(const MlaCacheView& cache, int64_t n_tokens) {
  MlaCacheView host_view = cache;
  host_view.pages = pages_.data();
  const int64_t width = cache.latent + cache.rope;
  std::vector<float> rows(n_tokens * width);
  std::vector<Bf16> narrow(kPageTokens * width);
  for (int64_t t = 0; t < n_tokens; t += kPageTokens) {
    const int64_t n = std::min(kPageTokens, n_tokens - t);
    if (cache.dtype == DType::kBf16) {
      Download(narrow.data(), host_view.row(t), n * cache.row_bytes());
      std::transform(narrow.begin(), narrow.begin() + n * width, rows.begin() + t * width, [](Bf16 x) { return ToFloat(x); });
    } else {
      Download(rows.data() + t * width, host_view.row(t), n * cache.row_bytes());
    }
  }
  return rows;
}

void Rig::Write(const TensorView& view, const std::vector<float>& values) {
  Require(device_.CopyIn(view.data, values.data(), values.size() * sizeof(float)));
}

std::vector<float> Rounded(WeightFormat format, const std::vector<float>& values, int64_t rows,
                           int64_t cols) {
  const std::vector<char> bytes = Encode(format, values, rows, cols);
  const MatrixView matrix = BindMatrix(format, rows, cols, bytes.data());
  std::vector<float> out(rows * cols);
  for (int64_t row = 0; row < rows; ++row) DequantizeRow(matrix, row, out.data() + row * cols);
  return out;
}

}  // namespace rill::test
