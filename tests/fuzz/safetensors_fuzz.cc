// Any bytes as a safetensors file: what is accepted tiles its data.
#include <cstring>
#include <string>

#include "model/convert/safetensors.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/buffer_fs.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rill;
  using fuzz::Require;
  const auto* chars = reinterpret_cast<const char*>(data);
  const auto header = ParseSafetensorsHeader(absl::MakeConstSpan(chars, size), size);
  test::BufferFileSystem fs(std::string(chars, size));
  const auto file = fs.OpenForReading("");
  Require(ReadSafetensorsHeader(**file).ok() == header.ok(), "a file is read as its bytes are");
  if (!header.ok()) return 0;
  uint64_t end = header->data_offset;
  for (const SafetensorsEntry& tensor : header->tensors) {
    Require(tensor.begin == end && tensor.end >= tensor.begin, "tensors tile the data");
    end = tensor.end;
    uint64_t bytes = SafetensorsElementBytes(tensor.dtype);
    for (uint64_t dim : tensor.shape) bytes *= dim;
    Require(bytes == tensor.end - tensor.begin, "a tensor has the bytes of its shape");
  }
  Require(end == size, "to the end of the file");
  return 0;
}

// Keeps the length in front right, so that the JSON behind it is reached.
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  uint64_t length = 0, tail = 0;
  if (size >= 8) {
    std::memcpy(&length, data, 8);
    tail = length <= size - 8 ? size - 8 - length : 0;
  }
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 == 0 || size < 8) return size;
  length = size - 8 > tail ? size - 8 - tail : size - 8;
  std::memcpy(data, &length, 8);
  return size;
}
