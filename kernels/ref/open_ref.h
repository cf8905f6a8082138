// kernels/ref/open_ref.h — the executable specification as a device.
#pragma once

#include <memory>

#include "kernels/device/device.h"

namespace rill {

// One thread, plain loops. Always succeeds but for memory.
std::unique_ptr<Device> OpenRefDevice();

}  // namespace rill
