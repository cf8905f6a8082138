// model/tokenizer/special_tokens.h — the control tokens after the base vocabulary: their ids and
// their names.
//
// The model knows a control token by id = base size + offset. The offsets are those of the released
// 48B tokenizer (163584 base tokens) and hold for a smaller base as well. Names matter only where
// text is read as control tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace rill {

// The value is the offset from the base vocabulary's size.
enum class Control : int32_t {
  kBos = 0,
  kEos = 1,
  kImEnd = 2,
  kImUser = 3,
  kImAssistant = 4,
  kStartHeader = 6,
  kEndHeader = 7,
  kEot = 9,
  kImSystem = 10,
  kToolCallsBegin = 11,
  kToolCallsEnd = 12,
  kToolCallBegin = 13,
  kToolCallArgument = 14,
  kToolCallEnd = 15,
  kImMiddle = 17,
  kUnk = 254,
  kPad = 255,
};

inline constexpr int32_t kMinSpecialTokens = 18;     // up to kImMiddle: what a conversation needs
inline constexpr int32_t kMaxSpecialTokens = 65536;  // the 48B model has 256
inline constexpr size_t kMaxSpecialNameBytes = 256;

// Immutable, Thread-safe.
class SpecialTokens {
 public:
  // Names the ids [base_size, vocab_size). `tokenizer_config_json` is the checkpoint's
  // tokenizer_config.json: an id that its added_tokens_decoder does not list is
  // "<|reserved_token_ID|>". When it is empty, the names of Control hold. InvalidArgument: too few
  // or too many ids, no JSON, a listed id outside the vocabulary, a name that is empty, too long or
  // given twice, a name of Control at another id or an id of Control with a foreign name.
  static absl::StatusOr<SpecialTokens> Create(std::string_view tokenizer_config_json,
                                              int64_t base_size, int64_t vocab_size);

  // `id` must be in [base_size, vocab_size).
  std::string_view name(int32_t id) const { return names_[id - base_size_]; }

  struct Found {
    size_t begin;
    size_t end;
    int32_t id;
  };
  // The first special name in `text` at or after `from`; the longest one where several start.
  std::optional<Found> FindNext(std::string_view text, size_t from) const;

 private:
  absl::Status Build();

  int32_t base_size_ = 0;
  std::vector<std::string> names_;  // [id - base_size]
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<size_t> lengths_;      // of the names, distinct, longest first
  std::vector<bool> is_first_byte_;  // [256]
};

}  // namespace rill
