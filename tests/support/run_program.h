// tests/support/run_program.h — runs a program the way a shell does and keeps all it said.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace rill::test {

struct ProgramResult {
  int exit_code = -1;  // -1 when a signal ended it
  std::string out, err;
  uint64_t peak_bytes = 0;  // largest resident set
};

// `argv[0]` is the path of the program. Its stdin is empty.
inline ProgramResult RunProgram(const std::vector<std::string>& argv) {
  TempDir dir;
  const std::string out = dir / "out", err = dir / "err";
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
    std::vector<char*> args;
    for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    execv(args[0], args.data());
    _exit(127);
  }
  ProgramResult result;
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child) {
    ADD_FAILURE() << "cannot run " << argv[0];
    return result;
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  result.out = ReadFile(out);
  result.err = ReadFile(err);
  result.peak_bytes = uint64_t{1024} * static_cast<uint64_t>(usage.ru_maxrss);
  return result;
}

}  // namespace rill::test
