#define PCRE2_CODE_UNIT_WIDTH 8

#include "model/tokenizer/pretokenize.h"

#include <pcre2.h>

#include <limits>
#include <string>

#include "kernels/base/status.h"

namespace rill {
namespace {

// clang-format off
// PCRE2's own classes differ from the published pattern's in two places: \p{Han} is Script or Script_Extensions
// depending on the release, and \s also takes U+180E. So Script=Han (Unicode 16) and White_Space are spelt out.
#define HAN                                                                                     \
  R"(\x{2E80}-\x{2E99}\x{2E9B}-\x{2EF3}\x{2F00}-\x{2FD5}\x{3005}\x{3007}\x{3021}-\x{3029})"     \
  R"(\x{3038}-\x{303B}\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FA6D}\x{FA70}-\x{FAD9})"    \
  R"(\x{16FE2}\x{16FE3}\x{16FF0}\x{16FF1}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B739})"               \
  R"(\x{2B740}-\x{2B81D}\x{2B820}-\x{2CEA1}\x{2CEB0}-\x{2EBE0}\x{2EBF0}-\x{2EE5D})"             \
  R"(\x{2F800}-\x{2FA1D}\x{30000}-\x{3134A}\x{31350}-\x{323AF})"
#define SPACE R"(\t-\r\x{85}\p{Z})"

// Categories partition the code points, so "these letters and marks but not Han" is the complement of Han and all
// other categories. One class needs no backtracking frames per character, as a look-ahead inside a group would.
#define UPPER "[^" HAN R"(\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}])"
#define LOWER "[^" HAN R"(\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}])"
#define LEAD R"([^\r\n\p{L}\p{N}]?)"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

constexpr char kPattern[] =
    "[" HAN "]+"
    "|" LEAD UPPER "*" LOWER "+" CONTRACTION
    "|" LEAD UPPER "+" LOWER "*" CONTRACTION
    R"(|\p{N}{1,3})"
    "| ?[^" SPACE R"(\p{L}\p{N}]+[\r\n]*)"
    "|[" SPACE R"(]*[\r\n]+)"
    "|[" SPACE "]+(?![^" SPACE "])"
    "|[" SPACE "]+";
// clang-format on

#undef HAN
#undef SPACE
#undef UPPER
#undef LOWER
#undef LEAD
#undef CONTRACTION

std::string Message(int code) {
  PCRE2_UCHAR buffer[128];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// What one Split needs besides the shared code.
class Matcher {
 public:
  Matcher()
      : data_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
    if (!ok()) return;
    // The library's default limits guard against exponential patterns. This one is linear, and a
    // limit that a long text could reach would make encoding fail.
    pcre2_set_match_limit(context_.get(), std::numeric_limits<uint32_t>::max());
    pcre2_set_depth_limit(context_.get(), std::numeric_limits<uint32_t>::max());
    pcre2_set_heap_limit(context_.get(), std::numeric_limits<uint32_t>::max());
  }
  bool ok() const { return data_ != nullptr && context_ != nullptr; }

  // The end of the match that starts at `at`, or a negative PCRE2 code.
  int64_t End(const pcre2_code* code, std::string_view text, size_t at) const {
    int result = Match(code, text, at, 0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = Match(code, text, at, PCRE2_NO_JIT);
    if (result < 0) return result;
    return static_cast<int64_t>(pcre2_get_ovector_pointer(data_.get())[1]);
  }

 private:
  int Match(const pcre2_code* code, std::string_view text, size_t at, uint32_t options) const {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                       options | PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
  }

  std::unique_ptr<pcre2_match_data, FreeMatch> data_;
  std::unique_ptr<pcre2_match_context, FreeMatch> context_;
};

}  // namespace

void Pretokenizer::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

absl::StatusOr<Pretokenizer> Pretokenizer::Create(Engine engine) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Pretokenizer result;
  result.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), sizeof kPattern - 1,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &offset,
                                   nullptr));
  if (result.code_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("PCRE2 refuses the split pattern at ", offset, ": ", Message(error)));
  }
  if (engine == Engine::kJitIfAvailable) {
    // Where code cannot be generated (no support, no executable memory) matching is interpreted.
    pcre2_jit_compile(result.code_.get(), PCRE2_JIT_COMPLETE);
  }
  return result;
}

absl::Status Pretokenizer::Split(std::string_view text,
                                 absl::FunctionRef<void(std::string_view)> piece) const {
  const Matcher matcher;
  if (!matcher.ok())
    return absl::ResourceExhaustedError("no memory for matching the split pattern");
  for (size_t at = 0; at < text.size();) {
    const int64_t end = matcher.End(code_.get(), text, at);
    if (end <=
        static_cast<int64_t>(at)) {  // never "no match": every character is in some alternative
      return absl::ResourceExhaustedError(absl::StrCat("splitting text at byte ", at, " of ",
                                                       text.size(), ": ",
                                                       Message(static_cast<int>(end))));
    }
    piece(text.substr(at, end - at));
    at = static_cast<size_t>(end);
  }
  return absl::OkStatus();
}

}  // namespace rill
