// model/graph/scratch.h — bump allocation of activations inside one planned buffer.
//
// The same code that takes views at run time is run once over a null base to learn how many bytes they need, so the plan
// and the pass cannot disagree.
#pragma once

#include <cstdint>

#include "kernels/base/checked.h"
#include "kernels/device/tensor.h"

namespace rill {

class Scratch {  // One caller at a time. Borrows `base`.
 public:
  static constexpr uint64_t kAlignment = 256;  // what GPUs want of every buffer

  explicit Scratch(void* base) : base_(static_cast<char*>(base)) {}

  template <typename... Dims>
  TensorView Take(DType dtype, Dims... dims) {
    TensorView view = MakeView(base_ == nullptr ? nullptr : base_ + used_, dtype, dims...);
    used_ = AlignUp(used_ + static_cast<uint64_t>(view.bytes()), kAlignment);
    return view;
  }
  template <typename... Dims>
  TensorView F32(Dims... dims) { return Take(DType::kF32, dims...); }
  TensorView Bytes(uint64_t n) { return Take(DType::kU8, static_cast<int64_t>(n)); }

  uint64_t used() const { return used_; }

 private:
  char* base_;
  uint64_t used_ = 0;
};

}  // namespace rill
