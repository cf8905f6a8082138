// The shipped model recalls what it was told in another process: 100 held-out conversations are fed and saved, the process
// that asks the question has nothing but the files.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/tokenizer/chat.h"
#include "tests/sdk/greedy_reply.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/run_program.h"

namespace rill::test {
namespace {

const std::string kFolder = std::string(RILL_SOURCE_DIR) + "/samples/tiny_model";
constexpr size_t kKeptBack = 16;  // tokens that the other process feeds: the question

struct Case {
  std::vector<int32_t> ids;
  std::string expected;
};

std::vector<Case> Cases(const Tokenizer& tokenizer) {
  std::vector<Case> cases;
  std::ifstream file(kFolder + "/heldout/recall.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto one = nlohmann::json::parse(line);
    auto ids = RenderChat(tokenizer, one["messages"].dump(), "", ChatEnd::kOpenReply);
    EXPECT_TRUE(ids.ok()) << ids.status();
    if (ids.ok()) cases.push_back({*std::move(ids), one["reference"]});
  }
  return cases;
}

std::string File(const std::string& folder, size_t i) { return folder + "/" + std::to_string(i) + ".rillstate"; }

class SampleModelResumeTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Devices, SampleModelResumeTest, ::testing::Values("cpu", "cuda"),
                         [](const auto& info) { return info.param; });

// The process that asks: answers to a file, a line each.
void Ask(const std::string& folder, const std::string& device) {
  const auto model = OpenModel(folder + "/model.rill", device, 2);
  ASSERT_NE(model, nullptr);
  const std::vector<Case> cases = Cases(*model->tokenizer());
  std::ofstream answers(folder + "/answers");
  for (size_t i = 0; i < cases.size(); ++i) {
    auto session = Session::Load(model, *FileSystem::Posix(), File(folder, i));
    ASSERT_TRUE(session.ok()) << session.status();
    const auto rest = absl::MakeConstSpan(cases[i].ids).subspan((*session)->length());
    ASSERT_EQ(rest.size(), kKeptBack);
    ASSERT_TRUE((*session)->Append(rest).ok());
    answers << GreedyReply(**session) << "\n";
  }
}

TEST_P(SampleModelResumeTest, RecallsWhatAnotherProcessWasTold) {
  if (const std::string why = WhyAbsent(GetParam()); !why.empty()) GTEST_SKIP() << why;
  if (const char* folder = std::getenv("RILL_TEST_FOLDER")) return Ask(folder, GetParam());
  TempDir temp;
  const std::string path = ConvertTo(temp, kFolder + "/checkpoint", "bf16");
  std::filesystem::rename(path, temp / "model.rill");
  std::vector<Case> cases;
  {
    const auto model = OpenModel(temp / "model.rill", GetParam(), 2);
    ASSERT_NE(model, nullptr);
    cases = Cases(*model->tokenizer());
    ASSERT_EQ(cases.size(), 100u);
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto session = Session::Create(model, SessionShape{4608, 512, DType::kBf16, 0, 8});
      ASSERT_TRUE(session.ok()) << session.status();
      ASSERT_TRUE((*session)->Append(absl::MakeConstSpan(cases[i].ids.data(), cases[i].ids.size() - kKeptBack)).ok());
      SaveParams params;
      params.durability = Durability::kNone;
      params.ladder = false;
      ASSERT_TRUE((*session)->Save(*FileSystem::Posix(), File(temp.path(), i), params).ok());
    }
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const ProgramResult run = RunProgram({"/usr/bin/env", "RILL_TEST_FOLDER=" + temp.path(), self,
                                        "--gtest_filter=*SampleModelResumeTest*/" + GetParam()});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  std::ifstream answers(temp / "answers");
  int right = 0;
  for (const Case& one : cases) {
    std::string answer;
    ASSERT_TRUE(std::getline(answers, answer));
    right += answer == one.expected;
  }
  printf("[ measured ] bf16 on %s recalls %d of 100 across processes\n", GetParam().c_str(), right);
  EXPECT_GE(right, 95);
}

}  // namespace
}  // namespace rill::test
