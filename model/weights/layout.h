// model/weights/layout.h — where every record of a *.rill file lies. A pure function of sizes: the
// writer places records with it and the reader accepts no other placement, which is what "tiles
// exactly" means.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/weights/tensor_table.h"

namespace rill {

inline constexpr uint64_t kBlobAlignment = 64;

struct FileLayout {
  uint64_t data_begin = 0;       // the directory and its padding end here
  std::vector<uint64_t> tensor;  // offset of every tensor of the table
  std::vector<uint64_t> blob;    // offset of every blob
  uint64_t file_bytes = 0;
};

// InvalidArgument names the tensor, blob or total and the limit of container.h that it passes.
absl::StatusOr<FileLayout> MakeFileLayout(uint64_t directory_bytes,
                                          const std::vector<TensorSpec>& table,
                                          const std::vector<uint64_t>& blob_bytes);

}  // namespace rill
