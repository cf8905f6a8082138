// kernels/device/tensor.h — views: a pointer, a type and a shape. Views own nothing and are always contiguous.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/dtype.h"

namespace rill {

// Up to four dimensions, row-major, last one fastest. An absent tensor has data == nullptr.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  int64_t dim[4] = {0, 0, 0, 0};

  int64_t size() const {
    int64_t n = rank == 0 ? 0 : 1;
    for (int i = 0; i < rank; ++i) n *= dim[i];
    return n;
  }
  int64_t bytes() const { return size() * SizeOf(dtype); }
  bool empty() const { return data == nullptr; }

  template <typename T>
  T* as() const { return static_cast<T*>(data); }
  float* f32() const { return static_cast<float*>(data); }

  // Rows [begin, begin + n) of the first dimension.
  TensorView Rows(int64_t begin, int64_t n) const {
    TensorView v = *this;
    v.data = static_cast<char*>(data) + begin * (bytes() / dim[0]);
    v.dim[0] = n;
    return v;
  }
};

template <typename... Dims>
TensorView MakeView(void* data, DType dtype, Dims... dims) {
  static_assert(sizeof...(dims) >= 1 && sizeof...(dims) <= 4);
  TensorView v{data, dtype, static_cast<int>(sizeof...(dims)), {static_cast<int64_t>(dims)...}};
  return v;
}

template <typename... Dims>
TensorView F32View(float* data, Dims... dims) {
  return MakeView(data, DType::kF32, dims...);
}

}  // namespace rill
