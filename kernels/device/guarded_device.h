// kernels/device/guarded_device.h — a host device that watches its memory, for tests and for
// hunting overruns.
//
// Every buffer gets a red zone of 256 bytes in front and behind. Zones and new memory are filled
// with 0xFF, a NaN in every float type and -1 as an index, so that reading them spoils the result
// as well; freed memory is filled with 0xDB. All zones are looked at after every operator, and
// those of a buffer when it is freed. The first write into a zone becomes the device's error for
// good: the operator that did it and every later one, and Synchronize(), return the same Internal
// status, which names the operator, the buffer and the byte.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"

namespace rill {

// Takes over `inner` and keeps its info, operators and pool. InvalidArgument unless
// inner->is_host(). Thread-safe as Device is; a zone check sees the writes of other threads'
// operators too and names the one that finished first.
absl::StatusOr<std::unique_ptr<Device>> GuardDevice(std::unique_ptr<Device> inner);

}  // namespace rill
