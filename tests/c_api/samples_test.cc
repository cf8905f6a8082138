// The programs of samples/c and samples/cpp, run as a reader would run them.
#include <string>

#include "gtest/gtest.h"
#include "tests/c_api/model_file.h"
#include "tests/support/run_program.h"

namespace rill::test {
namespace {

const std::string kBin = RILL_BINARY_DIR "/bin/";

TEST(SamplesTest, HelloStreamRunsToTheEnd) {
  const ProgramResult run = RunProgram({kBin + "hello_stream", TinyModelPath()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
}

TEST(SamplesTest, HelloStreamSaysWhatIsWrong) {
  const ProgramResult usage = RunProgram({kBin + "hello_stream"});
  EXPECT_EQ(usage.exit_code, 1);
  EXPECT_NE(usage.err.find("usage"), std::string::npos);
  const ProgramResult missing = RunProgram({kBin + "hello_stream", "/nonexistent.rill"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.err.find("/nonexistent.rill"), std::string::npos) << missing.err;
}

TEST(SamplesTest, RememberGoesOnWhereItWas) {
  const TempDir dir;
  const std::string file = dir / "talk.rillstate";
  uint64_t tokens = 0;
  for (int turn = 0; turn < 3; ++turn) {
    const ProgramResult run = RunProgram({kBin + "remember", TinyModelPath(), file});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    rill_file_info info;
    RILL_INIT(info);
    ASSERT_EQ(rill_file_inspect(file.data(), file.size(), &info), RILL_OK) << LastError();
    EXPECT_GT(info.tokens, tokens);
    tokens = info.tokens;
  }
  WriteFile(file, ReadFile(file).substr(0, 20000));
  const ProgramResult damaged = RunProgram({kBin + "remember", TinyModelPath(), file});
  EXPECT_EQ(damaged.exit_code, 1) << "a damaged file is no reason to begin anew";
  EXPECT_NE(damaged.err.find("bytes"), std::string::npos) << damaged.err;
  EXPECT_EQ(ReadFile(file).size(), 20000u);
  EXPECT_EQ(RunProgram({kBin + "remember"}).exit_code, 1);
}

TEST(SamplesTest, ChatTakesTurns) {
  const auto chat = [](const std::string& input) {
    return RunProgram(
        {"/bin/sh", "-c", "printf '" + input + "' | '" + kBin + "chat' '" + TinyModelPath() + "'"});
  };
  const ProgramResult none = chat("");
  EXPECT_EQ(none.exit_code, 0) << none.err;
  EXPECT_EQ(none.out, "> \n");
  const ProgramResult one = chat("say \"the\" \\\\ \\t hello\\n");
  EXPECT_EQ(one.exit_code, 0) << one.err;
  // What a random model says is anything, also nothing; the prompt comes before and after it.
  EXPECT_EQ(one.out.substr(0, 2), "> ");
  ASSERT_GE(one.out.size(), 6u);
  EXPECT_EQ(one.out.substr(one.out.size() - 4), "\n> \n");
}

}  // namespace
}  // namespace rill::test
