// c_api/status.h — from absl::Status to rill_status, and the sentence of the last failure.
#pragma once

#include <new>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "c_api/include/rill/rill.h"

namespace rill::capi {

// Where a status comes from: the same absl code means something else there.
enum class Origin {
  kArgs,     // checks that touch neither file nor device
  kFile,     // reading a model or session file
  kSave,     // writing a session file
  kDevice,   // opening a device and loading onto it
  kSession,  // a session or a generation
};

// Remembers the message for rill_last_error and gives the code. Not for Ok.
rill_status Fail(rill_status code, std::string_view message);

// RILL_OK, or the code that `origin` gives the status; remembers its message.
rill_status Answer(const absl::Status& status, Origin origin);

// Runs a call's body; whatever is thrown in it ends here.
template <typename Body>
rill_status Guard(const char* function, Body&& body) noexcept {
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    return Fail(RILL_E_NOMEM, "out of host memory");
  } catch (...) {
    return Fail(RILL_E_INTERNAL, function);
  }
}

}  // namespace rill::capi
