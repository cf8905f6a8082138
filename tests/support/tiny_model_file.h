// tests/support/tiny_model_file.h — a *.rill file of any config with random tensor bytes, and ways
// to lie in one.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/format/container.h"
#include "model/io/crc32c.h"
#include "model/weights/writer.h"
#include "tests/support/random.h"

namespace rill::test {

inline std::vector<BlobSpec> TinyBlobs() {
  return {{"tokenizer.tiktoken", "YQ== 0\nYg== 1\n"}, {"note", "not the tokenizer's"}};
}

// Random bytes are as good as weights for everything that does not compute.
inline std::vector<std::string> RandomTensorBytes(const std::vector<TensorSpec>& table,
                                                  Random& random) {
  std::vector<std::string> tensors;
  for (const TensorSpec& spec : table) {
    std::string bytes(spec.bytes, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Bits());
    tensors.push_back(std::move(bytes));
  }
  return tensors;
}

// In parts of awkward sizes, as the converter does.
inline absl::Status WriteModelFile(FileSystem& fs, const std::string& path,
                                   const ModelConfig& config, const Recipe& recipe,
                                   const std::vector<std::string>& tensors) {
  auto writer = ModelWriter::Create(fs, path, config, recipe, TinyBlobs());
  if (!writer.ok()) return writer.status();
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (size_t offset = 0; offset < tensors[i].size(); offset += 1777) {
      const size_t n = std::min<size_t>(1777, tensors[i].size() - offset);
      absl::Status status = (*writer)->Write(i, offset, tensors[i].data() + offset, n);
      if (!status.ok()) return status;
    }
  }
  return (*writer)->Finish();
}

inline FileHeader HeaderOf(const std::string& file) {
  FileHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  return header;
}

inline std::string DirectoryIn(const std::string& file) {
  return file.substr(kDirectoryOffset, HeaderOf(file).directory_bytes);
}

// Makes the header true of the file again: sizes, checksums.
inline void Repair(std::string& file) {
  FileHeader header = HeaderOf(file);
  header.file_bytes = file.size();
  header.directory_crc = Crc32c(file.data() + kDirectoryOffset, header.directory_bytes);
  header.header_crc = 0;
  std::memcpy(file.data(), &header, sizeof header);
  header.header_crc = Crc32c(file.data(), kHeaderBytes);
  std::memcpy(file.data(), &header, sizeof header);
}

}  // namespace rill::test
