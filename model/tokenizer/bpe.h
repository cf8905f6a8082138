// model/tokenizer/bpe.h — byte-pair encoding of one piece.
//
// Starts from single bytes; of all neighbours whose joined bytes are a token, the pair with the
// lowest rank is joined, the leftmost among equals, until none is left. A piece that is a token is
// that token.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/tokenizer/vocabulary.h"

namespace rill {

// One caller at a time: owns the scratch memory, which grows to the longest piece seen. Borrows the
// vocabulary.
class Bpe {
 public:
  explicit Bpe(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // Appends the tokens of `piece` (less than 4 GiB) to *ids. O(n log n) in its bytes.
  void Encode(std::string_view piece, std::vector<int32_t>* ids);

 private:
  // A part of the piece, stored at the index of its first byte; a linked list in text order.
  struct Part {
    uint32_t end;       // one past its last byte = index of the next part
    uint32_t previous;  // index of the part before; its own for the first
    int32_t id;         // -1 once it was joined to the part before
  };
  // Two neighbours that could be joined. Outdated when `begin` no longer opens a pair that ends at
  // `end`.
  struct Pair {
    int32_t rank;
    uint32_t begin;
    uint32_t end;
  };

  static bool JoinedLater(const Pair& a, const Pair& b);
  void Merge(std::string_view piece);
  void Join(std::string_view piece, const Pair& pair);
  void Offer(std::string_view piece,
             uint32_t begin);  // queues the pair that `begin` opens, if it is a token

  const Vocabulary& vocabulary_;
  std::vector<Part> parts_;  // [byte]
  std::vector<Pair> queue_;  // heap, the next pair to join on top
};

}  // namespace rill
