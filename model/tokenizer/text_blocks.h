// model/tokenizer/text_blocks.h — the cuts the original tokenizer makes in long texts before it
// looks at words.
#pragma once

#include <cstdint>
#include <string_view>

namespace rill {

inline constexpr int64_t kMaxBlockChars =
    400'000;  // a text is first cut into blocks of this many code points,
inline constexpr int64_t kMaxRunChars =
    25'000;  // then before a run of spaces or of non-spaces passes this many

// Python's str.isspace for one code point.
bool IsPythonSpace(char32_t c);

// One caller at a time. Borrows `text`, which must be valid UTF-8.
class TextBlocks {
 public:
  explicit TextBlocks(std::string_view text) : rest_(text) {}

  // The next part in *part; false at the end. Parts are non-empty and tile the text.
  bool Next(std::string_view* part);

 private:
  std::string_view rest_;
  int64_t block_chars_ = 0;  // code points of the current block that were given out
};

}  // namespace rill
