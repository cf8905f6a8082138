#include "model/tokenizer/utf8.h"

namespace rill {

size_t ValidUtf8Bytes(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t at = 0;
  while (at < text.size()) {
    const uint8_t lead = bytes[at];
    const int length = Utf8SequenceBytes(lead);
    if (length == 0 || text.size() - at < static_cast<size_t>(length)) return at;
    for (int i = 1; i < length; ++i) {
      if (!Utf8Continues(lead, i, bytes[at + i])) return at;
    }
    at += length;
  }
  return at;
}

char32_t FirstCodePoint(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const int length = Utf8SequenceBytes(bytes[0]);
  if (length == 1) return bytes[0];
  char32_t code = bytes[0] & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) code = (code << 6) | (bytes[i] & 0x3Fu);
  return code;
}

}  // namespace rill
