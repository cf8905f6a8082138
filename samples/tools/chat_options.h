// chat_options.h — the command line of rill-chat.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace rill_chat {

// Exit codes.
inline constexpr int kDone = 0, kUsage = 1, kFailure = 2;

inline constexpr uint64_t kDefaultContext = 4096;

struct Options {
  std::string model, device = "cpu", system;
  std::string resume;                 // empty: the conversation ends with the program
  std::optional<std::string> prompt;  // answer this and exit
  int threads = 0;
  uint64_t context = 0;  // 0: kDefaultContext, or what a file was saved with
  float temperature = 0.7f, top_p = 0, min_p = 0, repeat_penalty = 0;  // 0: as rill_gen_params says
  int top_k = 0;
  uint64_t seed = 0, max_tokens = 0;
  bool json = false;
  bool commands = false;  // also away from a terminal
};

// Fills `options`, or prints help or what is wrong and returns the exit code.
std::optional<int> ParseCommandLine(int argc, char** argv, Options& options);

}  // namespace rill_chat
