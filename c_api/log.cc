// The log sink of the host. The pair of function and user data travels as one object, so that a
// message never meets the function of one call and the data of another.
#include "kernels/base/log.h"

#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/status.h"

namespace rill::capi {
namespace {

struct Listener {
  rill_log_fn fn;
  void* ud;
};

void Forward(void* user, LogLevel level, std::string_view component, std::string_view message) {
  const auto* listener = static_cast<const Listener*>(user);
  const std::string name(component);
  listener->fn(listener->ud, static_cast<int32_t>(level), name.c_str(), message.data(),
               message.size());
}

std::mutex listener_mutex;
// Never destroyed: a thread may still log while the process ends.
Listener* listener = nullptr;

rill_status SetLog(rill_log_fn fn, void* ud, int32_t min_level) {
  if (min_level < RILL_LOG_DEBUG || min_level > RILL_LOG_ERROR) {
    return Fail(RILL_E_ARG, absl::StrCat("min_level ", min_level, " is outside ", RILL_LOG_DEBUG,
                                         "..", RILL_LOG_ERROR));
  }
  std::unique_ptr<Listener> next;
  if (fn != nullptr) next = std::make_unique<Listener>(Listener{fn, ud});
  const std::lock_guard<std::mutex> lock(listener_mutex);
  SetLogSink(next != nullptr ? Forward : nullptr, next.get(), static_cast<LogLevel>(min_level));
  delete listener;  // SetLogSink has waited for its last call
  listener = next.release();
  return RILL_OK;
}

}  // namespace
}  // namespace rill::capi

rill_status rill_set_log(rill_log_fn fn, void* ud, int32_t min_level) {
  return rill::capi::Guard(__func__, [&] { return rill::capi::SetLog(fn, ud, min_level); });
}
