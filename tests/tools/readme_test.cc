// README.md shows the sample program as it is.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace rill
