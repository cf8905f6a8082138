// The files compiled for one instruction set define nothing outside their own namespace. An inline
// function of std, absl or rill emitted there could be the copy the linker keeps for everyone, and
// the program would die on a processor without those instructions.
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/run_program.h"

namespace rill::test {
namespace {

class IsaSymbolsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(IsaSymbolsTest, StayInTheirNamespace) {
  const std::string isa = GetParam();
  const std::string object =
      RILL_BINARY_DIR "/kernels/CMakeFiles/rill_cpu.dir/cpu/isa_" + isa + ".cc.o";
  if (!std::filesystem::exists(object)) GTEST_SKIP() << "no " << object;
  const ProgramResult nm = RunProgram({"/usr/bin/nm", "-C", "--defined-only", object});
  if (nm.exit_code != 0) GTEST_SKIP() << "no nm that reads " << object << ": " << nm.err;

  const std::string own = "rill::cpu_" + isa + "::";
  int n_own = 0;
  std::istringstream lines(nm.out);
  for (std::string line; std::getline(lines, line);) {
    const size_t type = line.find_first_of(" ") + 1;  // "address T name", or "address W name"
    if (type + 2 >= line.size()) continue;
    const std::string name = line.substr(type + 2);
    if (name.find(own) != std::string::npos) ++n_own;
    if (std::string("WVuT").find(line[type]) == std::string::npos) continue;  // seen by no one else
    const bool accessor =
        name.rfind("rill::cpu::", 0) == 0 && name.find("Isa()") != std::string::npos;
    const bool runtime = name.rfind("DW.ref.", 0) == 0;  // exception tables' own plumbing
    EXPECT_TRUE(accessor || runtime || name.find(own) != std::string::npos) << line;
  }
  EXPECT_GT(n_own, 0) << nm.out.substr(0, 500);
}

INSTANTIATE_TEST_SUITE_P(Isas, IsaSymbolsTest,
#if defined(__x86_64__)
                         ::testing::Values("generic", "avx2", "avx512"),
#elif defined(__aarch64__)
                         ::testing::Values("generic", "neon"),
#else
                         ::testing::Values("generic"),
#endif
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace rill::test
