#include "model/tokenizer/tokenizer.h"

#include <utility>

#include "kernels/base/status.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/text_blocks.h"
#include "model/tokenizer/utf8.h"
#include "model/tokenizer/utf8_stream.h"

namespace rill {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(
    std::string_view tiktoken_file, std::string_view tokenizer_config_json, int64_t vocab_size) {
  RILL_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Parse(tiktoken_file));
  RILL_ASSIGN_OR_RETURN(
      SpecialTokens specials,
      SpecialTokens::Create(tokenizer_config_json, vocabulary.size(), vocab_size));
  RILL_ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::Create());
  return std::unique_ptr<const Tokenizer>(new Tokenizer(std::move(vocabulary), std::move(specials),
                                                        std::move(pretokenizer), vocab_size));
}

Tokenizer::Tokenizer(Vocabulary vocabulary, SpecialTokens specials, Pretokenizer pretokenizer,
                     int64_t vocab_size)
    : vocabulary_(std::move(vocabulary)),
      specials_(std::move(specials)),
      pretokenizer_(std::move(pretokenizer)),
      vocab_size_(vocab_size) {}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       EncodeMode mode) const {
  if (const size_t valid = ValidUtf8Bytes(text); valid != text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("text of ", text.size(), " bytes: no UTF-8 at byte ", valid));
  }
  std::vector<int32_t> ids;
  Bpe bpe(vocabulary_);
  const auto encode_piece = [&](std::string_view piece) { bpe.Encode(piece, &ids); };
  TextBlocks blocks(text);
  for (std::string_view part; blocks.Next(&part);) {
    size_t at = 0;
    if (mode == EncodeMode::kAllowSpecial) {
      while (const auto special = specials_.FindNext(part, at)) {
        RILL_RETURN_IF_ERROR(
            pretokenizer_.Split(part.substr(at, special->begin - at), encode_piece));
        ids.push_back(special->id);
        at = special->end;
      }
    }
    RILL_RETURN_IF_ERROR(pretokenizer_.Split(part.substr(at), encode_piece));
  }
  return ids;
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              SpecialText specials) const {
  std::string text;
  Utf8Stream stream;
  for (int32_t id : ids) {
    RILL_ASSIGN_OR_RETURN(const std::string_view bytes, TokenBytes(id));
    if (specials == SpecialText::kShow || !IsSpecial(id)) stream.Push(bytes, &text);
  }
  stream.Flush(&text);
  return text;
}

absl::StatusOr<std::string_view> Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size_) {
    return absl::InvalidArgumentError(
        absl::StrCat("token id ", id, ": the vocabulary has ", vocab_size_));
  }
  return IsSpecial(id) ? specials_.name(id) : vocabulary_.bytes(id);
}

std::vector<int32_t> Tokenizer::DefaultStopIds() const {
  return {id(Control::kImEnd), id(Control::kEos), id(Control::kEot)};
}

}  // namespace rill
