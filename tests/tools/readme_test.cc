// README.md shows the sample program as it is.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/temp_dir.h"

namespace rill {
namespace {

TEST(ReadmeTest, ShowsTheShortestProgramVerbatim) {
  const std::string root = RILL_SOURCE_DIR;
  const std::string program = test::ReadFile(root + "/samples/c/hello_stream.c");
  ASSERT_GT(program.size(), 100u);
  const std::string readme = test::ReadFile(root + "/README.md");
  EXPECT_NE(readme.find("```c\n" + program + "```\n"), std::string::npos)
      << "README.md does not contain samples/c/hello_stream.c as a ```c block";
}

// "A program" is a promise of shortness: what main does takes 15 lines.
TEST(ReadmeTest, TheShortestProgramIsFifteenLines) {
  const std::string program = test::ReadFile(std::string(RILL_SOURCE_DIR) + "/samples/c/hello_stream.c");
  const size_t begin = program.find("int main"), end = program.rfind("\n}");
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  EXPECT_LE(std::count(program.begin() + static_cast<std::ptrdiff_t>(begin),
                       program.begin() + static_cast<std::ptrdiff_t>(end), '\n'),
            15);
}

}  // namespace
}  // namespace rill
