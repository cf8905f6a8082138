// tests/tools/tool_case.h — the built programs, and model files for them to open.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/model/test_vocabulary.h"
#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

namespace rill::test {

inline std::string Program(const std::string& name) {
  return std::string(RILL_BINARY_DIR) + "/bin/" + name;
}

inline ProgramResult RunTool(const std::string& name, std::vector<std::string> args) {
  args.insert(args.begin(), Program(name));
  return RunProgram(args);
}

// The same with `input` on stdin.
inline ProgramResult RunToolOn(const std::string& input, const std::string& name,
                               const std::vector<std::string>& args) {
  TempDir dir;
  WriteFile(dir / "in", input);
  std::vector<std::string> argv = {"/bin/sh", "-c",       "file=$1; shift; exec \"$@\" <\"$file\"",
                                   "sh",      dir / "in", Program(name)};
  argv.insert(argv.end(), args.begin(), args.end());
  return RunProgram(argv);
}

inline std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Converts a checkpoint of random weights whose tokenizer knows single bytes and the chat's control
// tokens.
inline std::string TinyChatModel(const TempDir& dir, uint64_t seed) {
  TinyShape shape;
  shape.vocab = 300;
  TempDir checkpoint;
  TinyCheckpoint(shape, seed).Write(checkpoint.path());
  WriteFile(checkpoint / "tiktoken.model", TiktokenFile({}));
  return ConvertTo(dir, checkpoint.path(), "bf16");
}

}  // namespace rill::test
