// tests/c_api/session_case.h — sessions of the tiny model through rill.hpp, and what they say.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "rill/rill.hpp"
#include "tests/c_api/model_file.h"

namespace rill::test {

// From a seed that the test report names.
class Random {
 public:
  Random() : seed_(std::random_device{}()), engine_(seed_) {
    ::testing::Test::RecordProperty("random_seed", std::to_string(seed_));
  }
  size_t Below(size_t n) { return static_cast<size_t>(engine_() % n); }
  std::vector<int32_t> Ids(size_t n) {
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = static_cast<int32_t>(Below(kBaseTokens));
    return ids;
  }

 private:
  uint64_t seed_;
  std::mt19937_64 engine_;
};

inline rill_session_params SmallSession(uint64_t max_tokens = 512, uint32_t prefill_chunk = 16) {
  auto p = params<rill_session_params>();
  p.max_tokens = max_tokens;
  p.prefill_chunk = prefill_chunk;
  p.rewind_window = 16;
  return p;
}

inline rill_gen_params ReplyOf(uint64_t max_tokens, uint64_t seed = 0, float temperature = 1) {
  auto p = params<rill_gen_params>();
  p.max_tokens = max_tokens;
  p.ignore_model_stops = 1;
  p.temperature = temperature;
  p.seed = seed;
  return p;
}

struct Reply {
  std::vector<int32_t> ids;
  std::string text;
  int32_t finish = RILL_FINISH_NONE;

  friend bool operator==(const Reply& a, const Reply& b) {
    return a.ids == b.ids && a.text == b.text && a.finish == b.finish;
  }
};

inline Reply Finish(Generation generation, Reply reply = {}) {
  for (const Event& event : generation) {
    reply.text += event.text;
    reply.finish = event.finish;
    if (!event.is_end) reply.ids.push_back(event.id);
  }
  return reply;
}

// The code that a call throws, RILL_OK when it does not.
template <typename Call>
rill_status CodeOf(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return RILL_OK;
}

}  // namespace rill::test
