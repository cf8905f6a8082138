// model/weights/validate.h — what a directory means, believed only where it agrees with what its
// own config implies.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/weights/directory.h"

namespace rill {

// `bytes` is 8-byte aligned, its checksum is right, its file has `file_bytes` bytes. Accepts
// exactly what the writer would have written for the same config, recipe and blobs: the table in
// names, roles, formats and shapes, and every offset. Counts are compared before anything is
// allocated by them, and nothing is copied out of the buffer but the config, the recipe, checksums
// and at most kMaxBlobs names. DataLoss: not a sound FlatBuffer. FailedPrecondition: a layout tag
// this build does not know. InvalidArgument: a meaning that cannot be; names both numbers.
absl::StatusOr<Directory> DecodeDirectory(std::string_view bytes, uint64_t file_bytes);

}  // namespace rill
