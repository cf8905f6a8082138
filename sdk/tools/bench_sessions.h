// sdk/tools/bench_sessions.h — what it costs to keep, restore, branch and take back a session, and
// how the tool says so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/clock.h"
#include "model/model.h"
#include "sdk/session.h"
#include "sdk/tools/spread.h"

namespace rill::tools {

inline constexpr int64_t kTurnTokens = 16;    // of the message whose answer is waited for
inline constexpr int64_t kFlushTokens = 500;  // of the turn that an attached file takes up

struct SessionsOptions {
  std::vector<int64_t> contexts;  // at least 16 tokens each; ascending
  int64_t prefill_chunk = 256;
  int repetitions = 3;
  int64_t probe_tokens = 512;  // of the append that measures the prefill rate
  int64_t cold_tokens = 0;     // of a cold prefill that are measured in any case; 0: the probe's
  double limit_seconds = 120;  // prefills that would take longer are projected from that rate
  std::string scratch;         // folder for session files; empty: the system's
  uint64_t seed = 1;
  Clock* clock = Clock::Steady();  // borrowed
};

// Times are seconds, sizes bytes.

struct Measured {
  Spread seconds;
  bool projected = false;  // from the prefill rate, not measured
};

// How the prefill of an empty session begins, measured.
struct ColdStart {
  double seconds_per_token = 0;  // of the probe's tokens, the first ones
  int64_t tokens = 0;
  double seconds = 0;  // of all those
};

// From the call that brings the message to the first token of the answer.
struct FirstToken {
  Spread warm;       // the session is in memory
  Spread load;       // Session::Load, every byte checked, then the turn
  Spread lazy_load;  // the same, pages as they are wanted
  Spread disk_load;  // lazily, and nothing of the file in the system's cache
  Measured cold;     // everything appended to an empty session
  // The same, from below: measured, and of so many tokens. Zeros where that was not measured.
  int64_t cold_tokens = 0;
  double cold_at_least = 0;
};

struct LoadCost {
  Spread checked, lazy, disk;  // of Session::Load alone
};

struct FlushCost {
  WriteReport bytes;
  Spread none, data, full;  // by durability
};

struct ForkCost {
  Spread seconds;
  uint64_t resident = 0;          // growth of anonymous memory, the most of all repetitions
  uint64_t resident_stepped = 0;  // after its first step: a page of its own, activations
  uint64_t reserved = 0;          // growth of the device's account, which counts promises
};

struct RewindPoint {
  uint64_t back = 0;  // tokens
  RewindCost cost;
  Measured time;
};

struct MemoryUse {
  uint64_t planned = 0;
  uint64_t reserved = 0;       // growth of the device's account by the session
  uint64_t peak_reserved = 0;  // the highest that growth was, a turn included
  uint64_t peak_resident =
      0;  // growth of VmHWM by load and turn, mapped pages of the file included
};

struct SessionsPoint {
  int64_t context = 0;
  FirstToken first_token;
  double prefill_seconds_per_token = 0;  // at this context
  uint64_t file_bytes = 0;
  Spread save;
  LoadCost load;
  FlushCost flush;
  ForkCost fork;
  Spread snapshot, restore;
  Measured first_rewind;  // by one token after a load: reads the records from the file
  std::vector<RewindPoint> rewinds;
  MemoryUse memory;
};

struct SessionsResult {
  std::string model, recipe, device, processor;
  int threads = 0;
  uint64_t weight_bytes = 0;
  bool processor_time = false;  // seconds are the processor's, not the clock's
  bool full_shape = false;      // of the 48B model, which the goals in bytes are for
  ColdStart cold_start;
  int64_t real_tokens = 0;  // prefilled for the synthetic contexts
  std::vector<SessionsPoint> points;
};

absl::StatusOr<SessionsResult> MeasureSessions(std::shared_ptr<const Model> model,
                                               const SessionsOptions& options);

std::string SessionsText(const SessionsResult& result);
std::string SessionsJson(const SessionsResult& result);

// What the measurements are held against.
inline constexpr double kGoalLoadFactor = 1.1, kGoalLoadExtra = 0.05;    // load <= warm * + seconds
inline constexpr double kGoalColdRatio = 100;                            // of cold to load, at 32k
inline constexpr double kGoalFlushBytes = 4.5e6;                         // beside the state slot
inline constexpr double kGoalForkSeconds = 0.06, kGoalForkBytes = 45e6;  // beside its tables

}  // namespace rill::tools
