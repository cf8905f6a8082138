// sdk/host_block.h — host memory of a session: 64-byte aligned, counted by the device where that is
// the host's.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/base/status.h"
#include "kernels/device/buffer.h"
#include "kernels/device/tensor.h"

namespace rill {

class HostBlock {
 public:
  HostBlock() = default;

  // Contents undefined. ResourceExhausted names the bytes.
  static absl::StatusOr<HostBlock> Allocate(Device& device, size_t bytes) {
    HostBlock block;
    block.bytes_ = bytes;
    if (device.is_host()) {
      RILL_ASSIGN_OR_RETURN(block.counted_, Buffer::Allocate(device, bytes));
      return block;
    }
    block.plain_.reset(static_cast<char*>(::operator new(bytes, kAlignment, std::nothrow)));
    if (block.plain_ != nullptr) return block;
    return absl::ResourceExhaustedError(absl::StrCat("host memory: ", bytes, " bytes asked for"));
  }

  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(plain_ != nullptr ? plain_.get() : counted_.as<char>());
  }
  TensorView view() const { return MakeView(as<char>(), DType::kU8, bytes_); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(char* data) const { ::operator delete(data, kAlignment); }
  };

  std::unique_ptr<char, Delete> plain_;
  Buffer counted_;
  size_t bytes_ = 0;
};

}  // namespace rill
