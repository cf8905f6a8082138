#include "model/io/posix_error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace rill {
namespace {

// strerror_r comes in two kinds; overloading tells them apart without asking which C library this
// is.
[[maybe_unused]] const char* Reason(int result, const char* buffer) {
  return result == 0 ? buffer : "unknown error";
}
[[maybe_unused]] const char* Reason(const char* result, const char*) { return result; }

constexpr char kFileErrorUrl[] = "rill/file";

absl::StatusCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::Status PosixError(const std::string& path, const char* operation, int error_number) {
  char buffer[128] = "";
  const char* reason = Reason(strerror_r(error_number, buffer, sizeof buffer), buffer);
  absl::Status status(CodeOf(error_number), absl::StrCat(path, ": ", operation, ": ", reason));
  status.SetPayload(kFileErrorUrl, absl::Cord());
  return status;
}

bool IsFileError(const absl::Status& status) { return status.GetPayload(kFileErrorUrl).has_value(); }

}  // namespace rill
