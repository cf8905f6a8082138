// model/io/sha256.h — SHA-256 (FIPS 180-4), for identities: which model, which tokenizer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rill {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {  // One caller at a time.
 public:
  void Update(const void* data, size_t bytes);
  // The digest of everything so far. The object is spent.
  Sha256Digest Finish();

 private:
  void Block(const uint8_t* p);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t pending_[64];
  uint64_t bytes_ = 0;
};

// Of all there is, in one call.
Sha256Digest Sha256Of(const void* data, size_t bytes);

}  // namespace rill
