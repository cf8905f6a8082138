// sdk/session_file/ledger.h — the tokens of a timeline, and the SHA-256 of any prefix of them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/io/sha256.h"

namespace rill::session_file {

class Ledger {  // One caller at a time; const calls from any thread.
 public:
  uint64_t size() const { return tokens_.size(); }
  absl::Span<const int32_t> tokens() const { return tokens_; }

  void Append(absl::Span<const int32_t> tokens);
  void Truncate(uint64_t size);

  // Of the first `n` tokens as little-endian int32. Costs at most kEvery tokens of hashing.
  Sha256Digest Hash(uint64_t n) const;

  uint64_t CommonPrefix(absl::Span<const int32_t> other) const;

 private:
  static constexpr uint64_t kEvery = 128;

  std::vector<int32_t> tokens_;
  std::vector<Sha256> midstates_;  // [i]: after (i + 1) * kEvery tokens
};

// A prefix hash as records carry it: enough to tell timelines apart, half the room.
using ShortHash = std::array<uint8_t, 16>;
ShortHash Shorten(const Sha256Digest& digest);

}  // namespace rill::session_file
