// model/weights/zero_run.h — the check that padding is padding.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "model/io/file.h"

namespace rill {

// DataLoss names the offset of the first byte of [begin, end) that is not zero.
absl::Status CheckZeros(const ReadableFile& file, uint64_t begin, uint64_t end);

}  // namespace rill
