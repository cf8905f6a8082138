// model/io/posix_error.h — errno as absl::Status: the path, the operation, the system's reason.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rill {

// "<path>: <operation>: <reason>". Codes as model/io/file.h lists them.
absl::Status PosixError(const std::string& path, const char* operation, int error_number);

// Whether it is one of those, whatever has passed it on: a device that cannot be opened has the same codes.
bool IsFileError(const absl::Status& status);

}  // namespace rill
