// model/convert/safetensors.h — strict reader of the safetensors format, the one that checkpoints
// come in.
//
//   file   := length header data        length: uint64 little-endian, bytes of the header
//   header := JSON { name: {"dtype": .., "shape": [..], "data_offsets": [begin, end]},
//   "__metadata__": {string: string} }
//
// Believes nothing: the header is bounded, names are bounded and unique, every byte count is shape
// x type in checked arithmetic, and the tensors tile the data exactly, without gap, overlap or
// tail. Element values are not looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/io/file.h"

namespace rill {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // the format's own limit
inline constexpr size_t kMaxSafetensorsName = 512;  // ours; the longest in use has 70 bytes
inline constexpr size_t kMaxSafetensorsRank = 8;
inline constexpr size_t kMaxSafetensorsTensors = size_t{1} << 20;

struct SafetensorsEntry {
  std::string name;
  std::string dtype;            // as the format spells it: "BF16"
  std::vector<uint64_t> shape;  // empty: a scalar
  uint64_t begin = 0, end = 0;  // bytes from the start of the file
};

struct SafetensorsHeader {
  uint64_t data_offset = 0;               // of the first data byte in the file
  std::vector<SafetensorsEntry> tensors;  // in the order of their bytes
};

// Reads the header at the start of `bytes`, which may be a whole file or just 8 bytes and the
// header after them. Pure. InvalidArgument says what is wrong with which tensor; DataLoss when the
// file is shorter than its header promises.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::Span<const char> bytes,
                                                         uint64_t file_bytes);

// The same for an open file, of which it reads no more than the header.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ReadableFile& file);

// Bytes of an element, 0 for a type the format does not have (or has in units smaller than a byte).
uint64_t SafetensorsElementBytes(absl::string_view dtype);

// "[4096, 1, 4]", for messages.
std::string ShapeString(absl::Span<const uint64_t> shape);

}  // namespace rill
