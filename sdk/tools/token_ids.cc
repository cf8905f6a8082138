#include "sdk/tools/token_ids.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace rill::tools {
namespace {

constexpr size_t kMaxQuoted = 40;  // bytes of a bad word that a message repeats

std::string Quote(absl::string_view word) {
  return absl::StrCat("\"", absl::CHexEscape(word.substr(0, kMaxQuoted)),
                      word.size() > kMaxQuoted ? "...\"" : "\"");
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const std::string& text, int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \t\r\n\v\f"), absl::SkipEmpty())) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", ids.size(), " is ", Quote(word), ", which is no number"));
    }
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token ", ids.size(), " is ", Quote(word),
                                                     ", outside the vocabulary of ", vocab_size));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  if (ids.empty()) return absl::InvalidArgumentError("no token ids");
  return ids;
}

}  // namespace rill::tools
