#include "model/io/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace rill {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kPolynomial = 0x82F63B78u;

uint64_t Load8(const unsigned char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// table[k][b]: what byte b contributes when k more bytes follow it.
constexpr std::array<std::array<uint32_t, 256>, 8> MakeByteTables() {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? kPolynomial : 0u);
    table[0][b] = crc;
  }
  for (int k = 1; k < 8; ++k) {
    for (int b = 0; b < 256; ++b)
      table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xffu];
  }
  return table;
}
constexpr auto kByteTables = MakeByteTables();

uint32_t ExtendByTable(uint32_t crc, const unsigned char* p, size_t n) {
  for (; n >= 8; p += 8, n -= 8) {
    const uint64_t word = Load8(p) ^ crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kByteTables[7 - k][(word >> (8 * k)) & 0xffu];
  }
  for (; n > 0; ++p, --n) crc = (crc >> 8) ^ kByteTables[0][(crc ^ *p) & 0xffu];
  return crc;
}

#if defined(__x86_64__)
#define RILL_CRC32C_INSTRUCTION 1
inline uint64_t Step8(uint64_t crc, uint64_t word) {
  asm("crc32q %1, %0" : "+r"(crc) : "rm"(word));
  return crc;
}
inline uint64_t Step1(uint64_t crc, unsigned char byte) {
  asm("crc32b %1, %0" : "+r"(crc) : "rm"(byte));
  return crc;
}
bool HasInstruction() { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#define RILL_CRC32C_INSTRUCTION 1
inline uint64_t Step8(uint64_t crc, uint64_t word) {
  asm(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
  return crc;
}
inline uint64_t Step1(uint64_t crc, unsigned char byte) {
  asm(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(uint32_t{byte}));
  return crc;
}
bool HasInstruction() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#else
  return true;  // every other 64-bit ARM platform requires it
#endif
}
#endif

#if defined(RILL_CRC32C_INSTRUCTION)

// The instruction takes three cycles and one can start each cycle, so three runs of bytes go side
// by side.
constexpr size_t kRun = 4096;

// Moves a CRC past kRun zero bytes. That is linear over GF(2): four lookups, one per byte of the
// CRC.
class PastRun {
 public:
  PastRun() {
    std::array<uint32_t, 32>
        column;  // image of every bit under one zero byte, then squared up to kRun of them
    for (int bit = 0; bit < 32; ++bit) {
      const uint32_t crc = uint32_t{1} << bit;
      column[bit] = (crc >> 8) ^ kByteTables[0][crc & 0xffu];
    }
    for (size_t bytes = 1; bytes < kRun; bytes *= 2) {
      const std::array<uint32_t, 32> once = column;
      for (int bit = 0; bit < 32; ++bit) column[bit] = Apply(once, once[bit]);
    }
    for (int k = 0; k < 4; ++k) {
      for (uint32_t b = 0; b < 256; ++b) table_[k][b] = Apply(column, b << (8 * k));
    }
  }

  uint32_t operator()(uint32_t crc) const {
    return table_[0][crc & 0xffu] ^ table_[1][(crc >> 8) & 0xffu] ^ table_[2][(crc >> 16) & 0xffu] ^
           table_[3][crc >> 24];
  }

 private:
  static uint32_t Apply(const std::array<uint32_t, 32>& column, uint32_t vector) {
    uint32_t sum = 0;
    for (int bit = 0; bit < 32; ++bit) {
      if ((vector >> bit & 1u) != 0) sum ^= column[bit];
    }
    return sum;
  }

  uint32_t table_[4][256];
};

uint32_t ExtendByInstruction(uint32_t crc, const unsigned char* p, size_t n) {
  static const PastRun past_run;
  for (; n >= 3 * kRun; p += 3 * kRun, n -= 3 * kRun) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kRun; i += 8) {
      a = Step8(a, Load8(p + i));
      b = Step8(b, Load8(p + kRun + i));
      c = Step8(c, Load8(p + 2 * kRun + i));
    }
    crc = past_run(past_run(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b)) ^
          static_cast<uint32_t>(c);
  }
  uint64_t wide = crc;
  for (; n >= 8; p += 8, n -= 8) wide = Step8(wide, Load8(p));
  for (; n > 0; ++p, --n) wide = Step1(wide, *p);
  return static_cast<uint32_t>(wide);
}

#else
bool HasInstruction() { return false; }
uint32_t ExtendByInstruction(uint32_t crc, const unsigned char* p, size_t n) {
  return ExtendByTable(crc, p, n);
}
#endif

}  // namespace

uint32_t Crc32c(const void* data, size_t bytes, uint32_t crc) {
  static const bool has_instruction = HasInstruction();
  const auto* p = static_cast<const unsigned char*>(data);
  return ~(has_instruction ? ExtendByInstruction(~crc, p, bytes) : ExtendByTable(~crc, p, bytes));
}

uint32_t Crc32cByTable(const void* data, size_t bytes, uint32_t crc) {
  return ~ExtendByTable(~crc, static_cast<const unsigned char*>(data), bytes);
}

}  // namespace rill
