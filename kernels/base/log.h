// kernels/base/log.h — the log sink, one of the four seams. The library itself never prints.
#pragma once

#include <string_view>

namespace rill {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// `message` is valid during the call only. The sink may be called from any thread, never under a lock of ours
// except the one that guards the sink itself, so it must not call back into SetLogSink.
using LogSink = void (*)(void* user, LogLevel level, std::string_view component, std::string_view message);

// Thread-safe. A null sink (the default) drops everything.
void SetLogSink(LogSink sink, void* user, LogLevel min_level);

// Thread-safe. Cheap when nobody listens at this level.
void Log(LogLevel level, std::string_view component, std::string_view message);

}  // namespace rill
