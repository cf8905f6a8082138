// kernels/cuda/fault.h — what a CUDA error means for the device: refuse this call, or lost for ever.
//
// Ten runtime codes leave the process in a state in which every later CUDA call fails too ("the process must be
// terminated and relaunched", driver_types.h). They make the device lost: Unavailable, said again by every later call.
// Everything else fails the one call. No CUDA header is needed, so the table is tested where there is no toolkit.
#pragma once

#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace rill::cuda {

enum class FaultKind {
  kNone,
  kOutOfMemory,  // 2: ResourceExhausted, the device is unharmed
  kNoDevice,     // no driver, a driver that is too old, no GPU: Unavailable when the device is opened
  kSticky,       // the ten: Unavailable for ever
  kOther,        // Internal, this call only
};

// `code` is a cudaError_t.
FaultKind Triage(int code);

// The status of `code`; `name` and `text` are the runtime's own words for it, `what` is what was being done.
absl::Status ToStatus(int code, absl::string_view name, absl::string_view text, absl::string_view what);

// Remembers the first sticky error. Thread-safe.
class FaultLatch {
 public:
  // Ok for success, and the first loss for ever after one.
  absl::Status Take(int code, absl::string_view name, absl::string_view text, absl::string_view what);
  absl::Status lost() const;

 private:
  mutable std::mutex mutex_;
  absl::Status lost_;
};

}  // namespace rill::cuda
