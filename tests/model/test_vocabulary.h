// tests/model/test_vocabulary.h — small vocabularies and random texts for the tokenizer's tests.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace rill {

// A tiktoken file: the 256 single bytes as ranks 0 to 255, then `tokens` in order.
inline std::string TiktokenFile(const std::vector<std::string>& tokens) {
  std::string file;
  for (int i = 0; i < 256; ++i) {
    absl::StrAppend(&file, absl::Base64Escape(std::string(1, static_cast<char>(i))), " ", i, "\n");
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    absl::StrAppend(&file, absl::Base64Escape(tokens[i]), " ", 256 + i, "\n");
  }
  return file;
}

// `count` distinct tokens, each two earlier ones (or units) joined, as training would make them.
inline std::vector<std::string> RandomMerges(std::mt19937_64& random,
                                             const std::vector<std::string>& units, size_t count) {
  std::vector<std::string> parts = units, tokens;
  std::set<std::string> known(units.begin(), units.end());
  while (tokens.size() < count) {
    const std::string joined = parts[random() % parts.size()] + parts[random() % parts.size()];
    if (joined.size() > 64 || !known.insert(joined).second) continue;
    parts.push_back(joined);
    tokens.push_back(joined);
  }
  return tokens;
}

inline void AppendUtf8(char32_t c, std::string* text) {
  const auto put = [&](char32_t bits) { text->push_back(static_cast<char>(bits)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)),
        put(0x80 | (c & 0x3F));
  }
}

// Valid UTF-8 with characters of every length.
inline std::string RandomText(std::mt19937_64& random, size_t n_chars) {
  static constexpr char32_t kLimits[] = {0x20, 0x80, 0x80, 0x800, 0x10000, 0x110000};
  std::string text;
  while (n_chars > 0) {
    const char32_t c = random() % kLimits[random() % 6];
    if (c >= 0xD800 && c < 0xE000) continue;
    AppendUtf8(c, &text);
    --n_chars;
  }
  return text;
}

inline std::string ReadTestFile(const std::string& path) {  // path from the repository's root
  std::ifstream file(absl::StrCat(RILL_SOURCE_DIR, "/", path), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline nlohmann::json ReadVectors(const std::string& name) {
  return nlohmann::json::parse(ReadTestFile(absl::StrCat("tests/model/data/", name)));
}

}  // namespace rill
