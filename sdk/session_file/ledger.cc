#include "sdk/session_file/ledger.h"

#include <algorithm>

namespace rill::session_file {

void Ledger::Append(absl::Span<const int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  while ((midstates_.size() + 1) * kEvery <= tokens_.size()) {
    Sha256 sha = midstates_.empty() ? Sha256() : midstates_.back();
    sha.Update(tokens_.data() + midstates_.size() * kEvery, kEvery * sizeof(int32_t));
    midstates_.push_back(sha);
  }
}

void Ledger::Truncate(uint64_t size) {
  if (size >= tokens_.size()) return;
  tokens_.resize(size);
  midstates_.resize(size / kEvery);
}

Sha256Digest Ledger::Hash(uint64_t n) const {
  const uint64_t whole = n / kEvery;
  Sha256 sha = whole == 0 ? Sha256() : midstates_[whole - 1];
  sha.Update(tokens_.data() + whole * kEvery, (n - whole * kEvery) * sizeof(int32_t));
  return sha.Finish();
}

uint64_t Ledger::CommonPrefix(absl::Span<const int32_t> other) const {
  const size_t n = std::min(tokens_.size(), other.size());
  return static_cast<uint64_t>(
      std::mismatch(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(n), other.begin())
          .first -
      tokens_.begin());
}

ShortHash Shorten(const Sha256Digest& digest) {
  ShortHash hash;
  std::copy_n(digest.begin(), hash.size(), hash.begin());
  return hash;
}

}  // namespace rill::session_file
