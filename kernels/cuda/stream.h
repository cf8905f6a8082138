// kernels/cuda/stream.h — the stream of a device, on all multiprocessors or on a part of them.
//
// A part is a green context where the driver has them (12.5 and newer): a fixed set of multiprocessors that every kernel
// of the stream keeps to. Where it has not, the number alone is kept, and persistent grids are cut to it.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "absl/status/statusor.h"

namespace rill::cuda {

class StreamOwner {
 public:
  // `budget` 0 means all `total`. InvalidArgument when it is negative or more than there are.
  static absl::StatusOr<std::unique_ptr<StreamOwner>> Create(int device, int total, int budget);
  ~StreamOwner();

  cudaStream_t stream() const { return stream_; }
  int sm_count() const { return sm_count_; }
  bool is_green() const { return green_ != nullptr; }

 private:
  StreamOwner() = default;
  bool MakeGreen(int device, int budget);

  cudaStream_t stream_ = nullptr;
  int sm_count_ = 0;
  void* green_ = nullptr;  // CUgreenCtx
};

}  // namespace rill::cuda
