// model/tokenizer/pretokenize.h — cuts a text into the pieces that byte-pair merging works on.
//
// At each position the first alternative that matches wins. \s is Unicode White_Space, \p{Han} the
// Script property, and
//   U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] without \p{Han}    upper-case and caseless letters, marks
//   L = [\p{Ll}\p{Lm}\p{Lo}\p{M}] without \p{Han}          lower-case and caseless letters, marks
//
//   1  [\p{Han}]+
//   2  [^\r\n\p{L}\p{N}]? U* L+ (?i:'s|'t|'re|'ve|'m|'ll|'d)?
//   3  [^\r\n\p{L}\p{N}]? U+ L* (?i:'s|'t|'re|'ve|'m|'ll|'d)?
//   4  \p{N}{1,3}
//   5  [ ]? [^\s\p{L}\p{N}]+ [\r\n]*
//   6  \s* [\r\n]+
//   7  \s+ (?!\S)
//   8  \s+
//
// General categories come from the PCRE2 library, so code points newer than its Unicode version
// count as unassigned.
#pragma once

#include <memory>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct pcre2_real_code_8;

namespace rill {

// Immutable, Thread-safe.
class Pretokenizer {
 public:
  // Both give the same pieces; generated code is several times faster.
  enum class Engine { kJitIfAvailable, kInterpreter };

  // FailedPrecondition when the PCRE2 library was built without Unicode.
  static absl::StatusOr<Pretokenizer> Create(Engine engine = Engine::kJitIfAvailable);

  // Calls `piece` for each piece of `text` in order; the pieces are non-empty and tile it. `text`
  // must be valid UTF-8. Time is linear in its length for parts as TextBlocks cuts them.
  // ResourceExhausted when PCRE2 cannot get memory.
  absl::Status Split(std::string_view text, absl::FunctionRef<void(std::string_view)> piece) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

}  // namespace rill
