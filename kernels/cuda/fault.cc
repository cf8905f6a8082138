#include "kernels/cuda/fault.h"

#include "absl/strings/str_cat.h"

namespace rill::cuda {

FaultKind Triage(int code) {
  switch (code) {
    case 0: return FaultKind::kNone;
    case 2: return FaultKind::kOutOfMemory;
    case 34:    // stub library
    case 35:    // driver older than the runtime
    case 36:    // call needs a newer driver
    case 100:   // no device
    case 803:   // system driver mismatch
    case 804:   // forward compatibility not supported on this device
      return FaultKind::kNoDevice;
    case 226:   // contained
    case 700:   // illegal address
    case 702:   // launch timeout
    case 714:   // hardware stack error
    case 715:   // illegal instruction
    case 716:   // misaligned address
    case 717:   // invalid address space
    case 718:   // invalid program counter
    case 719:   // launch failure
    case 911:   // external device
      return FaultKind::kSticky;
    default: return FaultKind::kOther;
  }
}

absl::Status ToStatus(int code, absl::string_view name, absl::string_view text, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": CUDA error ", code, " ", name, " (", text, ")");
  switch (Triage(code)) {
    case FaultKind::kNone: return absl::OkStatus();
    case FaultKind::kOutOfMemory: return absl::ResourceExhaustedError(message);
    case FaultKind::kNoDevice: return absl::UnavailableError(message);
    case FaultKind::kSticky:
      return absl::UnavailableError(absl::StrCat("device lost, the process must be restarted to use it again: ", message));
    case FaultKind::kOther: return absl::InternalError(message);
  }
  return absl::InternalError(message);
}

absl::Status FaultLatch::Take(int code, absl::string_view name, absl::string_view text, absl::string_view what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!lost_.ok()) return lost_;
  absl::Status status = ToStatus(code, name, text, what);
  if (Triage(code) == FaultKind::kSticky) lost_ = status;
  return status;
}

absl::Status FaultLatch::lost() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return lost_;
}

}  // namespace rill::cuda
