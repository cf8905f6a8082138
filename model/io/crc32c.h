// model/io/crc32c.h — CRC32C (Castagnoli, reflected 0x82F63B78): every single-bit error and every
// burst of up to 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rill {

// Crc32c(a + b) == Crc32c(b, Crc32c(a)). Uses the processor's instruction where there is one; same
// answer everywhere.
uint32_t Crc32c(const void* data, size_t bytes, uint32_t crc = 0);

// The portable body of it, whatever the processor; tests compare the two.
uint32_t Crc32cByTable(const void* data, size_t bytes, uint32_t crc = 0);

}  // namespace rill
