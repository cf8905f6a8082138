#include "kernels/base/log.h"

#include <atomic>

#include "absl/base/attributes.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace rill {
namespace {

constexpr int kNobodyListens = static_cast<int>(LogLevel::kError) + 1;

ABSL_CONST_INIT absl::Mutex sink_mutex(absl::kConstInit);
LogSink current_sink ABSL_GUARDED_BY(sink_mutex) = nullptr;
void* current_user ABSL_GUARDED_BY(sink_mutex) = nullptr;

// Read without the lock so that a dropped message costs one load.
std::atomic<int> current_min_level{kNobodyListens};

}  // namespace

void SetLogSink(LogSink sink, void* user, LogLevel min_level) {
  absl::MutexLock lock(&sink_mutex);
  current_sink = sink;
  current_user = user;
  current_min_level.store(sink == nullptr ? kNobodyListens : static_cast<int>(min_level),
                          std::memory_order_relaxed);
}

void Log(LogLevel level, std::string_view component, std::string_view message) {
  if (static_cast<int>(level) < current_min_level.load(std::memory_order_relaxed)) return;
  absl::ReaderMutexLock lock(
      &sink_mutex);  // readers: one slow sink call does not hold up the other threads
  if (current_sink != nullptr) current_sink(current_user, level, component, message);
}

}  // namespace rill
