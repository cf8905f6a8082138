// model/weights/fingerprint.h — what makes two models the same, as SHA-256 over a canonical byte
// string: every integer as eight little-endian bytes, every float as its four bits' bytes, every
// text behind its length.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/io/sha256.h"
#include "model/weights/tensor_table.h"

namespace rill {

class CanonicalHash {  // One caller at a time.
 public:
  void Integer(int64_t value);
  void Float(float value);
  void Text(std::string_view text);
  void Bytes(const void* data, size_t n) {
    sha_.Update(data, n);
  }  // no length: the caller has said it
  Sha256Digest Finish() { return sha_.Finish(); }

 private:
  Sha256 sha_;
};

// Of every field that takes part in the arithmetic or shapes the state; not of max_context and the
// token ids.
Sha256Digest ArchitectureFingerprint(const ModelConfig& config);

// Of all names, roles, formats, shapes and checksums.
Sha256Digest WeightsFingerprint(const std::vector<TensorSpec>& table,
                                const std::vector<uint32_t>& crcs);

}  // namespace rill
