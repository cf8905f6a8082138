// tests/support/safetensors_writer.h — writes safetensors files, right ones and wrong ones. Shares
// no code with the reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/support/temp_dir.h"

namespace rill::test {

struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

// A whole file: the length of `header`, `header`, `data`.
inline std::string SafetensorsFile(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  uint64_t length = header.size();
  for (char& byte : file) {
    byte = static_cast<char>(length & 0xff);
    length >>= 8;
  }
  return file + header + data;
}

class SafetensorsWriter {
 public:
  void Add(const std::string& name, const StoredTensor& tensor) {
    header_[name] = {{"dtype", tensor.dtype},
                     {"shape", tensor.shape},
                     {"data_offsets", {data_.size(), data_.size() + tensor.bytes.size()}}};
    data_ += tensor.bytes;
  }
  nlohmann::ordered_json& header() { return header_; }  // to be broken by a test
  std::string& data() { return data_; }
  std::string Bytes() const { return SafetensorsFile(header_.dump(), data_); }
  void Write(const std::string& path) const { WriteFile(path, Bytes()); }

 private:
  nlohmann::ordered_json header_ = {{"__metadata__", {{"format", "pt"}}}};
  std::string data_;
};

// Every tensor of a well-formed file, by name. Trusts it.
inline std::map<std::string, StoredTensor> ReadSafetensors(const std::string& path) {
  const std::string file = ReadFile(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::map<std::string, StoredTensor> tensors;
  const nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::vector<uint64_t> offsets = entry["data_offsets"];
    tensors[name] = {entry["dtype"], entry["shape"],
                     file.substr(8 + length + offsets[0], offsets[1] - offsets[0])};
  }
  return tensors;
}

}  // namespace rill::test
