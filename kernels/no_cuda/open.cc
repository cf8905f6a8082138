// The CUDA backend's absence, as a folder: it answers where kernels/cuda would.
#include "kernels/cuda/open_cuda.h"

namespace rill {

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int, int, size_t) {
  return absl::NotFoundError("device cuda: this Rill was built without CUDA");
}

}  // namespace rill
