#include "c_api/status.h"

#include <algorithm>
#include <cstring>

#include "model/io/posix_error.h"
#include "sdk/session_file/content.h"

namespace rill::capi {
namespace {

// Fixed, so that saying that there is no memory needs none.
constexpr size_t kMaxMessage = 1023;
thread_local char last_message[kMaxMessage + 1];
thread_local size_t last_length = 0;

// The longest prefix of at most `limit` bytes that ends between characters.
size_t WholeCharacters(const char* text, size_t length, size_t limit) {
  if (length <= limit) return length;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return limit;
}

rill_status OfUnavailable(Origin origin) {
  switch (origin) {
    case Origin::kFile:
    case Origin::kSave:
      return RILL_E_IO;
    case Origin::kDevice:
      return RILL_E_DEVICE;
    case Origin::kSession:
      return RILL_E_DEVICE_LOST;
    case Origin::kArgs:
      break;
  }
  return RILL_E_INTERNAL;
}

rill_status CodeOf(absl::StatusCode code, Origin origin) {
  switch (code) {
    case absl::StatusCode::kOk:
      return RILL_OK;
    case absl::StatusCode::kInvalidArgument:
      return RILL_E_ARG;
    case absl::StatusCode::kOutOfRange:  // of a file: more tokens than there is to be room for
      return origin == Origin::kFile ? RILL_E_CONTEXT_FULL : RILL_E_ARG;
    case absl::StatusCode::kResourceExhausted:  // writing asks for no memory, but for disk
      return origin == Origin::kSave ? RILL_E_IO : RILL_E_NOMEM;
    case absl::StatusCode::kDataLoss:
      return RILL_E_CORRUPT;
    case absl::StatusCode::kCancelled:
      return RILL_E_CANCELLED;
    case absl::StatusCode::kUnimplemented:
      return RILL_E_UNSUPPORTED;
    case absl::StatusCode::kAborted:
      return RILL_E_BUSY;
    case absl::StatusCode::kUnavailable:
      return OfUnavailable(origin);
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kAlreadyExists:
      return RILL_E_IO;
    case absl::StatusCode::kNotFound:
      return origin == Origin::kFile || origin == Origin::kSave ? RILL_E_IO : RILL_E_UNSUPPORTED;
    case absl::StatusCode::kFailedPrecondition:
      return origin == Origin::kFile ? RILL_E_FORMAT_VERSION : RILL_E_STATE;
    default:
      return RILL_E_INTERNAL;
  }
}

const char* NameOf(rill_status status) {
  switch (status) {
    case RILL_OK:
      return "RILL_OK";
    case RILL_E_ARG:
      return "RILL_E_ARG";
    case RILL_E_NOMEM:
      return "RILL_E_NOMEM";
    case RILL_E_BUDGET:
      return "RILL_E_BUDGET";
    case RILL_E_IO:
      return "RILL_E_IO";
    case RILL_E_CORRUPT:
      return "RILL_E_CORRUPT";
    case RILL_E_FORMAT_VERSION:
      return "RILL_E_FORMAT_VERSION";
    case RILL_E_MISMATCH:
      return "RILL_E_MISMATCH";
    case RILL_E_BUSY:
      return "RILL_E_BUSY";
    case RILL_E_REENTRANT:
      return "RILL_E_REENTRANT";
    case RILL_E_CANCELLED:
      return "RILL_E_CANCELLED";
    case RILL_E_CONTEXT_FULL:
      return "RILL_E_CONTEXT_FULL";
    case RILL_E_UNSUPPORTED:
      return "RILL_E_UNSUPPORTED";
    case RILL_E_DEVICE:
      return "RILL_E_DEVICE";
    case RILL_E_DEVICE_LOST:
      return "RILL_E_DEVICE_LOST";
    case RILL_E_GRAMMAR:
      return "RILL_E_GRAMMAR";
    case RILL_E_CLOSED:
      return "RILL_E_CLOSED";
    case RILL_E_INTERNAL:
      return "RILL_E_INTERNAL";
    case RILL_E_STATE:
      return "RILL_E_STATE";
    default:
      return "unknown status";
  }
}

}  // namespace

rill_status Fail(rill_status code, std::string_view message) {
  last_length = WholeCharacters(message.data(), message.size(), kMaxMessage);
  std::copy_n(message.data(), last_length, last_message);
  last_message[last_length] = '\0';
  return code;
}

rill_status Answer(const absl::Status& status, Origin origin) {
  if (status.ok()) return RILL_OK;
  const auto message = status.message();
  if (IsFileError(status)) return Fail(RILL_E_IO, {message.data(), message.size()});
  const bool mismatch = !MismatchedField(status).empty();
  return Fail(mismatch ? RILL_E_MISMATCH : CodeOf(status.code(), origin),
              {message.data(), message.size()});
}

}  // namespace rill::capi

uint32_t rill_version(void) {
  return RILL_VERSION_MAJOR << 16 | RILL_VERSION_MINOR << 8 | RILL_VERSION_PATCH;
}

uint32_t rill_abi_version(void) { return RILL_ABI_VERSION; }

const char* rill_status_name(rill_status status) { return rill::capi::NameOf(status); }

size_t rill_last_error(char* buf, size_t cap) {
  using namespace rill::capi;
  if (buf != nullptr && cap > 0) {
    const size_t n = WholeCharacters(last_message, last_length, cap - 1);
    std::memcpy(buf, last_message, n);
    buf[n] = '\0';
  }
  return last_length;
}
