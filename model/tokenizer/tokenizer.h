// model/tokenizer/tokenizer.h — text to token ids and back.
//
//   text --TextBlocks--> parts --Pretokenizer--> pieces --Bpe--> ids
//   ids --TokenBytes--> bytes --Utf8Stream--> text
//
// Ids are those of the original tokenizer (tiktoken with the Kimi split pattern). No BOS or EOS is
// ever added.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/tokenizer/pretokenize.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/vocabulary.h"

namespace rill {

// Whether the names of special tokens in a text are ordinary text or become the special tokens.
// What a user wrote must never become control; kAllowSpecial is for text that the program itself
// wrote.
enum class EncodeMode { kContent, kAllowSpecial };

// What Decode gives for special tokens: nothing, or their names.
enum class SpecialText { kSkip, kShow };

// Immutable, Thread-safe.
class Tokenizer {
 public:
  // Reads a checkpoint's tiktoken.model and tokenizer_config.json (may be empty: see
  // SpecialTokens). Copies both. Ids from the end of the file's ranks up to `vocab_size`, the rows
  // of the embedding, are special tokens. InvalidArgument as Vocabulary::Parse and
  // SpecialTokens::Create say; FailedPrecondition for a PCRE2 without Unicode.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(
      std::string_view tiktoken_file, std::string_view tokenizer_config_json, int64_t vocab_size);

  // The ids of `text`. InvalidArgument names the byte offset where it is no UTF-8 (or cut off).
  // ResourceExhausted when the pattern matcher gets no memory.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, EncodeMode mode) const;

  // The text of `ids`; bytes that are no UTF-8 become U+FFFD. InvalidArgument names an id outside
  // the vocabulary.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     SpecialText specials = SpecialText::kSkip) const;

  // The bytes of a token, which may end inside a character; of a special token its name. Valid as
  // long as the tokenizer. InvalidArgument for an id outside the vocabulary.
  absl::StatusOr<std::string_view> TokenBytes(int32_t id) const;

  int64_t vocab_size() const { return vocab_size_; }
  int32_t base_size() const { return vocabulary_.size(); }
  bool IsSpecial(int32_t id) const { return id >= base_size() && id < vocab_size_; }
  int32_t id(Control control) const { return base_size() + static_cast<int32_t>(control); }

  // The ids that end a reply: <|im_end|>, [EOS], [EOT].
  std::vector<int32_t> DefaultStopIds() const;

 private:
  Tokenizer(Vocabulary vocabulary, SpecialTokens specials, Pretokenizer pretokenizer,
            int64_t vocab_size);

  Vocabulary vocabulary_;
  SpecialTokens specials_;
  Pretokenizer pretokenizer_;
  int64_t vocab_size_;
};

}  // namespace rill
