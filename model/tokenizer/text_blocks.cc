#include "model/tokenizer/text_blocks.h"

#include "model/tokenizer/utf8.h"

namespace rill {

bool IsPythonSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  if (c >= 0x2000 && c <= 0x200A) return true;
  switch (c) {
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return false;
  }
}

bool TextBlocks::Next(std::string_view* part) {
  if (rest_.empty()) return false;
  if (block_chars_ == kMaxBlockChars) block_chars_ = 0;
  size_t at = 0;
  int64_t run_chars = 0;
  bool run_is_space = false;
  while (at < rest_.size() && block_chars_ < kMaxBlockChars) {
    const bool is_space = IsPythonSpace(FirstCodePoint(rest_.substr(at)));
    if (is_space != run_is_space) run_chars = 0;
    run_is_space = is_space;
    if (run_chars == kMaxRunChars) break;
    ++run_chars;
    ++block_chars_;
    at += Utf8SequenceBytes(static_cast<uint8_t>(rest_[at]));
  }
  *part = rest_.substr(0, at);
  rest_.remove_prefix(at);
  return true;
}

}  // namespace rill
