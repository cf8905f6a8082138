// model/tokenizer/vocabulary.h — the base vocabulary: byte strings numbered by merge priority.
//
// File format (tiktoken): one line a token, `base64(bytes) SPACE rank LF`, ranks 0, 1, 2, ... in
// this order. A rank is the token's id and its merge priority, lower first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace rill {

// Immutable after Parse, Thread-safe. Owns its bytes; movable, since views point into the heap.
class Vocabulary {
 public:
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // InvalidArgument names the line (from 1) and what is wrong with it: no space, base64 that is not
  // canonical, a rank other than the line's index, an empty or repeated token; or the byte value
  // that has no token of its own.
  static absl::StatusOr<Vocabulary> Parse(std::string_view tiktoken_file);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  size_t max_token_bytes() const { return max_token_bytes_; }

  // `id` must be in [0, size()). Valid as long as the vocabulary.
  std::string_view bytes(int32_t id) const { return tokens_[id]; }

  int32_t byte_id(uint8_t byte) const { return byte_ids_[byte]; }

  // The token of exactly these bytes.
  std::optional<int32_t> Find(std::string_view bytes) const {
    if (bytes.size() > max_token_bytes_) return std::nullopt;
    const auto it = ids_.find(bytes);
    if (it == ids_.end()) return std::nullopt;
    return it->second;
  }

 private:
  Vocabulary() = default;
  absl::Status AddLine(std::string_view line);
  absl::Status FindSingleBytes();

  std::vector<char> arena_;               // all tokens' bytes; reserved once, never reallocated
  std::vector<std::string_view> tokens_;  // [id], into arena_
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  std::vector<int32_t> byte_ids_;  // [256]
  size_t max_token_bytes_ = 0;
};

}  // namespace rill
