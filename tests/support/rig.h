// tests/support/rig.h — memory for one operator call on any device: inputs copied in, outputs
// poisoned, results read back.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels/device/buffer.h"
#include "kernels/device/device.h"
#include "kernels/device/tensor.h"
#include "kernels/ops/matrix.h"
#include "kernels/ops/mla_cache.h"

namespace rill::test {

class Rig {
 public:
  explicit Rig(Device& device) : device_(device) {}

  // A tensor that holds a copy of `values`.
  TensorView In(const std::vector<float>& values, std::initializer_list<int64_t> dims);
  TensorView In(const std::vector<int32_t>& values, std::initializer_list<int64_t> dims);

  // A tensor full of NaN (0xFF in every byte).
  TensorView Out(std::initializer_list<int64_t> dims, DType dtype = DType::kF32);
  TensorView Workspace(uint64_t bytes);

  // Encodes `values` [rows, cols] in the layout of matrix.h.
  MatrixView Matrix(WeightFormat format, const std::vector<float>& values, int64_t rows,
                    int64_t cols);

  // The experts of a layer from their matrices, per expert gate, up, down.
  ExpertsView Experts(WeightFormat format, const std::vector<std::vector<float>>& gate_up_down,
                      int64_t hidden, int64_t width);

  // A cache with room for `n_tokens`, its rows poisoned; `layers` parts a page, this layer's being
  // number `layer`.
  MlaCacheView Cache(DType dtype, int64_t latent, int64_t rope, int64_t n_tokens, int layers = 1,
                     int layer = 0);
  void WriteCacheRows(const MlaCacheView& cache, const std::vector<float>& rows);  // from token 0
  std::vector<float> ReadCacheRows(const MlaCacheView& cache, int64_t n_tokens);

  std::vector<float> Read(const TensorView& view) { return ReadAs<float>(view); }
  std::vector<int32_t> ReadInts(const TensorView& view) { return ReadAs<int32_t>(view); }
  void Write(const TensorView& view, const std::vector<float>& values);

  // Frees everything made so far; views of it are dead.
  void Clear() { buffers_.clear(); }

  void* Upload(const void* data, size_t bytes);
  Device& device() { return device_; }

 private:
  template <typename T>
  std::vector<T> ReadAs(const TensorView& view) {
    std::vector<T> values(view.size());
    Download(values.data(), view.data, view.bytes());
    return values;
  }
  void* Allocate(size_t bytes);
  void Download(void* to, const void* from, size_t bytes);

  Device& device_;
  std::vector<Buffer> buffers_;
  std::vector<void*> pages_;  // of the cache made last, for reading it on the host
};

// What the matrix really holds: `values` through its format and back.
std::vector<float> Rounded(WeightFormat format, const std::vector<float>& values, int64_t rows,
                           int64_t cols);

inline constexpr WeightFormat kAllFormats[] = {WeightFormat::kF32, WeightFormat::kBf16,
                                               WeightFormat::kQ8, WeightFormat::kQ4};

}  // namespace rill::test
