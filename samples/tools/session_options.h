// session_options.h — the command line of rill-session.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace rill_session_tool {

// Exit codes.
inline constexpr int kDone = 0, kUsage = 1, kFailure = 2;

enum class Command { kInspect, kVerify, kCompact, kDiff };

struct Options {
  Command command = Command::kInspect;
  std::vector<std::string> files;  // one; any number for verify; two for diff
  std::string output;              // of compact; empty: in place
  bool bare = false, json = false;
};

// Fills `options`, or prints help or what is wrong and returns the exit code.
std::optional<int> ParseCommandLine(int argc, char** argv, Options& options);

}  // namespace rill_session_tool
