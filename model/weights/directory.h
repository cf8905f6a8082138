// model/weights/directory.h — the FlatBuffer of a *.rill file, written and read. Only this file's
// .cc and validate.cc know its generated classes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights/layout.h"
#include "model/weights/tensor_table.h"

namespace rill {

// A blob as the directory lists it.
struct BlobRecord {
  std::string name;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint32_t crc = 0;
};

// Everything a directory says.
struct Directory {
  ModelConfig config;
  Recipe recipe;
  std::vector<TensorSpec> table;
  std::vector<uint64_t> offsets;  // parallel to `table`
  std::vector<uint32_t> crcs;     // parallel to `table`
  std::vector<BlobRecord> blobs;
};

// Serialised. The size depends on names and counts alone, never on offsets or checksums.
std::string EncodeDirectory(const Directory& directory);

}  // namespace rill
