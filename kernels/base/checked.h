// kernels/base/checked.h — the one place where sizes that come from a file or a caller are added and multiplied.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

namespace rill {

// nullopt when the result does not fit; the caller names the thing that overflowed.
constexpr std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  if (a > std::numeric_limits<uint64_t>::max() - b) return std::nullopt;
  return a + b;
}

constexpr std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

// Product of any number of sizes: CheckedProduct(rows, cols, 2).
template <std::convertible_to<uint64_t>... Sizes>
constexpr std::optional<uint64_t> CheckedProduct(Sizes... sizes) {
  std::optional<uint64_t> total = 1;
  ((total = total ? CheckedMul(*total, static_cast<uint64_t>(sizes)) : total), ...);
  return total;
}

// Rounds up to a multiple of `alignment` (a power of two). nullopt when that passes 2^64.
constexpr std::optional<uint64_t> CheckedAlignUp(uint64_t value, uint64_t alignment) {
  const auto sum = CheckedAdd(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

// For sizes already known to be sane (computed from a validated config).
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace rill
