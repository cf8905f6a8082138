// sdk/tools/bench.h — what rill-bench measures and how it says so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model.h"
#include "sdk/tools/machine.h"
#include "sdk/tools/spread.h"

namespace rill::tools {

struct BenchOptions {
  std::vector<int64_t> contexts;  // tokens the session holds when a measurement starts; ascending
  int64_t decode_tokens = 32;     // of one repetition; 0: no decode
  int64_t prefill_tokens = 512;   // of one repetition; 0: no prefill
  int64_t prefill_chunk = 256;
  int repetitions = 5;
  uint64_t seed = 1;
  bool synthetic_context = false;  // random cache rows instead of prefill, see synthetic_session.h
  std::string scratch;             // where their files go; empty: the temporary folder
};

// What a decode step cannot avoid to move.
struct StepBytes {
  uint64_t weights = 0;
  uint64_t state = 0;  // read and written
  uint64_t cache = 0;  // read, at the middle of the measurement
  uint64_t total() const { return weights + state + cache; }
};

struct BenchPoint {
  int64_t context = 0;                        // asked for
  uint64_t decode_begin = 0, decode_end = 0;  // positions measured
  uint64_t prefill_begin = 0, prefill_end = 0;
  Spread decode, prefill;  // seconds per token
  StepBytes bytes;
};

struct BenchResult {
  std::string model, recipe, device, processor;
  bool synthetic_context = false;
  int threads = 0;
  uint64_t weight_bytes = 0, session_bytes = 0;
  Bandwidth bandwidth;
  std::vector<BenchPoint> points;
};

// Fills the session by real prefill up to every context, or by loading one that never was.
// Decoding feeds seeded random ids and samples greedily: a model of random weights that hears
// itself would soon read the same few experts from the caches.
absl::StatusOr<BenchResult> Measure(std::shared_ptr<const Model> model,
                                    const BenchOptions& options);

std::string BenchText(const BenchResult& result);
std::string BenchJson(const BenchResult& result);

}  // namespace rill::tools
