#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <tuple>

namespace rill {

void Bpe::Encode(std::string_view piece, std::vector<int32_t>* ids) {
  if (const auto id = vocabulary_.Find(piece)) {
    ids->push_back(*id);
    return;
  }
  Merge(piece);
  for (uint32_t at = 0; at < piece.size(); at = parts_[at].end) ids->push_back(parts_[at].id);
}

void Bpe::Merge(std::string_view piece) {
  const auto n = static_cast<uint32_t>(piece.size());
  parts_.resize(n);
  for (uint32_t i = 0; i < n; ++i) {
    parts_[i] = {i + 1, i == 0 ? 0 : i - 1, vocabulary_.byte_id(static_cast<uint8_t>(piece[i]))};
  }
  for (uint32_t i = 0; i < n; ++i) Offer(piece, i);
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), JoinedLater);
    const Pair pair = queue_.back();
    queue_.pop_back();
    Join(piece, pair);
  }
}

void Bpe::Join(std::string_view piece, const Pair& pair) {
  Part& left = parts_[pair.begin];
  // The same bytes have the same rank, so a pair that spans the right range is current whatever its
  // halves are.
  if (left.id < 0 || left.end == piece.size() || parts_[left.end].end != pair.end) return;
  parts_[left.end].id = -1;
  left.end = pair.end;
  left.id = pair.rank;
  if (left.end < piece.size()) parts_[left.end].previous = pair.begin;
  Offer(piece, pair.begin);
  if (pair.begin > 0) Offer(piece, left.previous);
}

void Bpe::Offer(std::string_view piece, uint32_t begin) {
  const uint32_t middle = parts_[begin].end;
  if (middle == piece.size()) return;
  const uint32_t end = parts_[middle].end;
  if (const auto rank = vocabulary_.Find(piece.substr(begin, end - begin))) {
    queue_.push_back({*rank, begin, end});
    std::push_heap(queue_.begin(), queue_.end(), JoinedLater);
  }
}

bool Bpe::JoinedLater(const Pair& a, const Pair& b) {
  return std::tie(a.rank, a.begin) > std::tie(b.rank, b.begin);
}

}  // namespace rill
