// sdk/tools/machine.h — what the machine could do, measured in the process that then measures Rill.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"

namespace rill::tools {

struct Bandwidth {
  double bytes_per_second = 0;
  std::string method;  // "streaming read" on host devices, "copy, read and written" on others
};

// The best of several passes over memory that no cache holds, with the device's own threads.
// ResourceExhausted when the device has no room for it.
absl::StatusOr<Bandwidth> MeasureBandwidth(Device& device);

// "AMD EPYC 9R14", as the system names the processor; "unknown processor" where it does not.
std::string ProcessorName();

}  // namespace rill::tools
