// model/tokenizer/utf8_stream.h — token bytes in, whole characters out.
//
// Tokens are byte strings and may end inside a character. The stream holds back an unfinished
// character and emits it when its last byte arrives. Malformed input becomes U+FFFD, one for each
// maximal part of a sequence that was valid so far: for any chunking the output is the bytes'
// decoding by Python's decode('utf-8', errors='replace').
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace rill {

// Thread-compatible. A value of four bytes: copy it to fork a stream, keep pending() to save one.
class Utf8Stream {
 public:
  // The state of a stream whose pending() was `pending`. InvalidArgument when that is not the start
  // of a character.
  static absl::StatusOr<Utf8Stream> FromPending(std::string_view pending);

  // Appends to *out every character that `bytes` completes. *out stays valid UTF-8 if it was.
  void Push(std::string_view bytes, std::string* out);

  // The end of the stream: an unfinished character becomes one U+FFFD. The stream is then as new.
  void Flush(std::string* out);

  // The bytes held back, at most 3. Valid until the next call.
  std::string_view pending() const { return {pending_, n_pending_}; }

 private:
  void PushByte(char byte, std::string* out);

  char pending_[3] = {};
  uint8_t n_pending_ = 0;
};

}  // namespace rill
