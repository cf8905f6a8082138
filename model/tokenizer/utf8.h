// model/tokenizer/utf8.h — the shape of UTF-8 sequences (Unicode 15, table 3-7), and whole-text
// validation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rill {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the sequence that `lead` opens, 1 to 4; 0 when no sequence starts with it.
constexpr int Utf8SequenceBytes(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;  // a continuation, or the overlong leads C0 and C1
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;  // F5 and above would pass U+10FFFF
}

// Whether `byte` may stand at `index` (1 to 3) of the sequence opened by `lead`. The second byte is
// where overlong forms, surrogates and values above U+10FFFF are told apart.
constexpr bool Utf8Continues(uint8_t lead, int index, uint8_t byte) {
  if (index == 1) {
    if (lead == 0xE0) return byte >= 0xA0 && byte <= 0xBF;
    if (lead == 0xED) return byte >= 0x80 && byte <= 0x9F;
    if (lead == 0xF0) return byte >= 0x90 && byte <= 0xBF;
    if (lead == 0xF4) return byte >= 0x80 && byte <= 0x8F;
  }
  return byte >= 0x80 && byte <= 0xBF;
}

// Length of the longest prefix that is whole, valid characters: text.size() for valid text,
// otherwise the offset of the first sequence that is malformed or cut off.
size_t ValidUtf8Bytes(std::string_view text);

// The code point at the start of `text`, which must be non-empty valid UTF-8.
char32_t FirstCodePoint(std::string_view text);

}  // namespace rill
