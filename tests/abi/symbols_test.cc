// What librill.so exports and how its structs lie in memory, against the list in c_api/rill.abi.
//
// RILL_UPDATE_ABI=1 in the environment writes the list anew; its diff is then the review.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rill/rill.h"
#include "tests/abi/layouts.h"
#include "tests/support/run_program.h"

namespace rill::test {
namespace {

const char* const kListPath = RILL_SOURCE_DIR "/c_api/rill.abi";
const char* const kHeaderPath = RILL_SOURCE_DIR "/c_api/include/rill/rill.h";

std::set<std::string> Symbols(const std::string& flag) {
  const ProgramResult nm = RunProgram({"/bin/sh", "-c", "nm -D " + flag + " " RILL_LIBRARY});
  EXPECT_EQ(nm.exit_code, 0) << nm.err;
  std::set<std::string> names;
  std::istringstream lines(nm.out);
  for (std::string line; std::getline(lines, line);) {
    std::string name = line.substr(line.rfind(' ') + 1);
    if (const size_t at = name.find('@'); at != std::string::npos) name.resize(at);
    if (name != "RILL_0" && !name.empty()) names.insert(name);
  }
  return names;
}

std::string CurrentList() {
  std::string list =
      "# The binary interface on 64-bit machines. Lines are added, never changed: "
      "tests/abi/symbols_test.cc.\n";
  for (const std::string& symbol : Symbols("--defined-only")) list += "symbol " + symbol + "\n";
  for (const Layout& layout : Layouts()) {
    list += "struct " + layout.name + " size " + std::to_string(layout.size) + "\n";
    for (const auto& [field, offset] : layout.fields) {
      list += "field " + layout.name + "." + field + " at " + std::to_string(offset) + "\n";
    }
  }
  for (const auto& [name, value] : Constants()) {
    list += "value " + name + " " + std::to_string(value) + "\n";
  }
  return list;
}

TEST(AbiTest, IsTheListInTheTree) {
  static_assert(sizeof(void*) == 8, "the list is of 64-bit machines");
  const std::string current = CurrentList();
  if (std::getenv("RILL_UPDATE_ABI") != nullptr) WriteFile(kListPath, current);
  EXPECT_EQ(current, ReadFile(kListPath));
}

TEST(AbiTest, ExportsTheHeadersFunctionsAndNothingElse) {
  std::set<std::string> declared;
  const std::string header = ReadFile(kHeaderPath);
  const std::regex function(R"(RILL_API [^;(]*?\*?(rill_\w+)\()");
  for (std::sregex_iterator it(header.begin(), header.end(), function), end; it != end; ++it) {
    declared.insert((*it)[1]);
  }
  EXPECT_GT(declared.size(), 25u);
  EXPECT_EQ(Symbols("--defined-only"), declared);
}

// The table in layouts.h is written by hand: the header says whether it is whole.
TEST(AbiTest, ListsEveryFieldAndConstant) {
  const std::string header = ReadFile(kHeaderPath), list = ReadFile(kListPath);
  const std::regex structs(R"(typedef struct (rill_\w+) \{([^}]*)\})");
  const std::regex comment(R"(/\*[\s\S]*?\*/)"), field(R"((\w+)(\[\w+\])?;)");
  int n_fields = 0;
  for (std::sregex_iterator it(header.begin(), header.end(), structs), end; it != end; ++it) {
    const std::string body = std::regex_replace((*it)[2].str(), comment, "");
    std::string names = std::regex_replace(body, std::regex(","), ";");
    for (std::sregex_iterator f(names.begin(), names.end(), field); f != end; ++f) {
      const std::string line = "field " + (*it)[1].str() + "." + (*f)[1].str() + " at ";
      EXPECT_NE(list.find(line), std::string::npos) << line;
      ++n_fields;
    }
  }
  EXPECT_GT(n_fields, 100);
  const std::regex constant(R"(\b(RILL_\w+) = -?\d+)");
  for (std::sregex_iterator it(header.begin(), header.end(), constant), end; it != end; ++it) {
    const std::string line = "value " + (*it)[1].str() + " ";
    EXPECT_NE(list.find(line), std::string::npos) << line;
  }
}

TEST(AbiTest, CannotEndOrPrint) {
  if (RILL_HAS_CUDA) GTEST_SKIP() << "the CUDA runtime is inside and brings its own calls";
  if (std::string(RILL_BUILD_TYPE) != "Release") {
    GTEST_SKIP() << "a " RILL_BUILD_TYPE " build keeps assertions of its libraries";
  }
  const std::set<std::string> undefined = Symbols("--undefined-only");
  EXPECT_TRUE(undefined.count("memcpy") + undefined.count("malloc") + undefined.count("free") > 0)
      << "nm lists what is taken from elsewhere";
  for (const char* name :
       {"abort",         "exit",         "_exit",         "_Exit",          "quick_exit",
        "printf",        "fprintf",      "vprintf",       "vfprintf",       "puts",
        "putchar",       "fputs",        "fputc",         "fwrite",         "perror",
        "__assert_fail", "__printf_chk", "__fprintf_chk", "__vfprintf_chk", "_ZSt4cout",
        "_ZSt4cerr",     "_ZSt4clog"}) {
    EXPECT_EQ(undefined.count(name), 0u) << name;
  }
}

}  // namespace
}  // namespace rill::test
