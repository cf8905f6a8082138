// kernels/base/philox.h — randomness as a pure function of (seed, position): Philox4x32-10.
//
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). There is no generator state, so a session
// that was rewound, restored or forked draws the same number at the same position.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/dtype.h"

namespace rill {

RILL_HOST_DEVICE inline void PhiloxRound(uint32_t counter[4], uint32_t k0, uint32_t k1) {
  const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
  const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
  const uint32_t c1 = counter[1], c3 = counter[3];
  counter[0] = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
  counter[1] = static_cast<uint32_t>(p1);
  counter[2] = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
  counter[3] = static_cast<uint32_t>(p0);
}

// The ten-round block function; `counter` is replaced by the four random words.
RILL_HOST_DEVICE inline void Philox4x32(uint32_t counter[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(counter, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Uniform in [0, 1), 24 bits: the draw of `seed` at `position`.
RILL_HOST_DEVICE inline float PhiloxUniform(uint64_t seed, uint64_t position) {
  uint32_t c[4] = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0u, 0u};
  Philox4x32(c, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  return static_cast<float>(c[0] >> 8) * (1.0f / 16777216.0f);
}

}  // namespace rill
