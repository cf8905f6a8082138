// kernels/device/buffer.h — the owner of device bytes: move-only, knows its device, frees on destruction.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"

namespace rill {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (device_ != nullptr) device_->Free(data_, bytes_);
  }

  // Borrows `device`, which must outlive the buffer. Zero bytes give an empty buffer.
  static absl::StatusOr<Buffer> Allocate(Device& device, size_t bytes) {
    Buffer buffer;
    if (bytes == 0) return buffer;
    absl::StatusOr<void*> data = device.Allocate(bytes);
    if (!data.ok()) return data.status();
    buffer.device_ = &device;
    buffer.data_ = *data;
    buffer.bytes_ = bytes;
    return buffer;
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const { return static_cast<T*>(data_); }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace rill
