// model/format/container.h — the fixed part of a *.rill file and every limit on it. Byte format:
// docs/FORMATS.md.
//
//   file      := header directory zeros* record*    tiles exactly: no gap but zero padding, no
//                                                   overlap, no tail
//   header    := 4096 bytes, see FileHeader, the rest zero
//   directory := FlatBuffer "RILM" (model.fbs) at offset 4096, padded with zeros to 64 KiB
//   record    := a tensor or a blob, in the directory's order, at its alignment
#pragma once

#include <cstdint>
#include <string_view>

namespace rill {

// CR LF, ^Z and LF catch text-mode transfers; the high bit catches 7-bit ones.
inline constexpr unsigned char kModelMagic[8] = {0x89, 'R', 'I', 'L', '\r', '\n', 0x1a, '\n'};
inline constexpr uint16_t kModelMajor = 1;  // readers refuse another major
inline constexpr uint16_t kModelMinor = 0;  // readers accept a smaller or equal minor

inline constexpr uint64_t kHeaderBytes = 4096;
inline constexpr uint64_t kDirectoryOffset = kHeaderBytes;
inline constexpr uint64_t kDataAlignment = 65536;  // of the first record and of expert records
inline constexpr uint64_t kMaxDirectoryBytes = 64ull << 20;
inline constexpr uint32_t kMaxTensors = 1u << 17;  // the 48B model has 7,151
inline constexpr uint32_t kMaxBlobs = 64;
inline constexpr uint32_t kMaxNameBytes = 256;
inline constexpr uint64_t kMaxTensorBytes = 1ull << 40;
inline constexpr uint64_t kMaxBlobBytes = 256ull << 20;
inline constexpr uint64_t kMaxFileBytes = 1ull << 46;

// gate, up, down in one record, each with the matrix layout (kernels/ops/matrix.h).
inline constexpr std::string_view kExpertLayoutTag = "gate-up-down-v1";

// Little-endian. `header_crc` is over the 4096 bytes with itself zero.
struct FileHeader {
  unsigned char magic[8];
  uint16_t major;
  uint16_t minor;
  uint32_t header_crc;
  uint64_t file_bytes;       // of the whole file
  uint64_t directory_bytes;  // unpadded
  uint32_t directory_crc;
  uint32_t reserved;  // zero
};
static_assert(sizeof(FileHeader) == 40);

}  // namespace rill
