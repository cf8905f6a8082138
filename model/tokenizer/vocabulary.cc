#include "model/tokenizer/vocabulary.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr size_t kMaxFileBytes = size_t{1}
                                 << 30;  // the 163,584 tokens of the 48B model take 2.8 MB

// absl decodes leniently (white space, missing padding); canonical text is what encodes to itself.
bool DecodeCanonicalBase64(std::string_view text, std::string* bytes) {
  const absl::string_view source(text.data(), text.size());
  return absl::Base64Unescape(source, bytes) && absl::Base64Escape(*bytes) == source;
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Parse(std::string_view tiktoken_file) {
  if (tiktoken_file.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat("vocabulary file: ", tiktoken_file.size(),
                                                   " bytes, the limit is ", kMaxFileBytes));
  }
  Vocabulary vocabulary;
  const size_t n_lines = std::count(tiktoken_file.begin(), tiktoken_file.end(), '\n') + 1;
  vocabulary.arena_.reserve(tiktoken_file.size());  // base64 is longer than what it encodes
  vocabulary.tokens_.reserve(n_lines);
  vocabulary.ids_.reserve(n_lines);
  while (!tiktoken_file.empty()) {
    const size_t end = std::min(tiktoken_file.find('\n'), tiktoken_file.size());
    const int32_t line = vocabulary.size() + 1;
    if (absl::Status status = vocabulary.AddLine(tiktoken_file.substr(0, end)); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("vocabulary file, line ", line, ": ", status.message()));
    }
    tiktoken_file.remove_prefix(std::min(end + 1, tiktoken_file.size()));
  }
  RILL_RETURN_IF_ERROR(vocabulary.FindSingleBytes());
  return vocabulary;
}

absl::Status Vocabulary::AddLine(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) {
    return absl::InvalidArgumentError("no space between token and rank");
  }
  std::string bytes;
  if (!DecodeCanonicalBase64(line.substr(0, space), &bytes)) {
    return absl::InvalidArgumentError("the token is not canonical base64");
  }
  if (bytes.empty()) return absl::InvalidArgumentError("the token is empty");
  const std::string_view rank = line.substr(space + 1);
  if (rank != std::to_string(size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank \"", absl::CHexEscape({rank.data(), std::min<size_t>(rank.size(), 32)}),
                     "\" where ", size(), " follows"));
  }
  const size_t begin = arena_.size();
  arena_.insert(arena_.end(), bytes.begin(), bytes.end());
  const std::string_view token(arena_.data() + begin, bytes.size());
  const auto [it, is_new] = ids_.emplace(token, size());
  if (!is_new) {
    return absl::InvalidArgumentError(absl::StrCat("the token of rank ", it->second, " again"));
  }
  tokens_.push_back(token);
  max_token_bytes_ = std::max(max_token_bytes_, token.size());
  return absl::OkStatus();
}

absl::Status Vocabulary::FindSingleBytes() {
  byte_ids_.resize(256);
  for (int value = 0; value < 256; ++value) {
    const char byte = static_cast<char>(value);
    const auto id = Find({&byte, 1});
    if (!id) {
      return absl::InvalidArgumentError(absl::StrCat(
          "vocabulary file: no token for the single byte ", value, " in ", size(), " tokens"));
    }
    byte_ids_[value] = *id;
  }
  return absl::OkStatus();
}

}  // namespace rill
