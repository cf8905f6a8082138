#include "model/tokenizer/utf8_stream.h"

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "kernels/base/status.h"
#include "model/tokenizer/utf8.h"

namespace rill {

absl::StatusOr<Utf8Stream> Utf8Stream::FromPending(std::string_view pending) {
  Utf8Stream stream;
  std::string emitted;
  stream.Push(pending, &emitted);
  if (!emitted.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("pending text \"", absl::CHexEscape({pending.data(), pending.size()}),
                     "\" is not the start of one UTF-8 character"));
  }
  return stream;
}

void Utf8Stream::Push(std::string_view bytes, std::string* out) {
  for (char byte : bytes) PushByte(byte, out);
}

void Utf8Stream::PushByte(char byte, std::string* out) {
  const auto value = static_cast<uint8_t>(byte);
  if (n_pending_ > 0) {
    const auto lead = static_cast<uint8_t>(pending_[0]);
    if (Utf8Continues(lead, n_pending_, value)) {
      if (n_pending_ + 1 == Utf8SequenceBytes(lead)) {
        out->append(pending_, n_pending_);
        out->push_back(byte);
        n_pending_ = 0;
      } else {
        pending_[n_pending_++] = byte;
      }
      return;
    }
    Flush(out);  // the byte breaks the sequence but may open the next one
  }
  switch (Utf8SequenceBytes(value)) {
    case 0:
      out->append(kReplacementCharacter);
      break;
    case 1:
      out->push_back(byte);
      break;
    default:
      pending_[n_pending_++] = byte;
  }
}

void Utf8Stream::Flush(std::string* out) {
  if (n_pending_ == 0) return;
  out->append(kReplacementCharacter);
  n_pending_ = 0;
}

}  // namespace rill
