// Session files without a model: what they say they are, and what is done with them.
#include <cstring>
#include <filesystem>

#include "gtest/gtest.h"
#include "tests/c_api/session_case.h"

namespace rill::test {
namespace {

class FilesTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name = "a.rillstate") const { return dir_ / name; }
  Session Made(size_t n) {
    Session session(model_, SmallSession());
    session.append(random_.Ids(n));
    return session;
  }

  TempDir dir_;
  Random random_;
  const Model model_{TinyModelPath()};
};

TEST_F(FilesTest, InspectSaysWhatIsInIt) {
  Session session = Made(300);
  session.set_user("12345");
  const auto saved = session.save(Path());
  const rill_file_info info = inspect(Path());
  EXPECT_EQ(info.revision, 1u);
  EXPECT_EQ(info.tokens, 300u);
  EXPECT_EQ(info.checkpoints, session.checkpoints().size());
  rill_load_report loaded;
  Session::load(model_, Path(), params<rill_load_params>(), &loaded);
  EXPECT_EQ(info.recorded, loaded.recorded);
  EXPECT_GE(info.recorded, 16u) << "the window";
  EXPECT_EQ(info.page_bytes, saved.page_bytes);
  EXPECT_GT(info.page_bytes, 0u);
  EXPECT_EQ(info.user_bytes, 5u);
  EXPECT_EQ(info.file_bytes, std::filesystem::file_size(Path()));
  EXPECT_EQ(info.superseded, 0u);
  EXPECT_EQ(info.unfinished_flush, 0);
  const rill_fingerprint print = model_.fingerprint();
  EXPECT_EQ(std::memcmp(info.architecture, print.architecture, 32), 0);
  EXPECT_EQ(std::memcmp(info.tokenizer, print.tokenizer, 32), 0);
  EXPECT_EQ(std::memcmp(info.weights, print.weights, 32), 0);
  EXPECT_STREQ(info.quantization, "q8");
  EXPECT_STREQ(info.numerics, model_.info().numerics);
  EXPECT_STREQ(info.mla_dtype, "bf16");
  EXPECT_GT(std::strlen(info.state_layout), 0u);
  session.fork().save(Path("b"));
  EXPECT_EQ(std::memcmp(inspect(Path("b")).ledger, info.ledger, 32), 0);
  session.step(1);
  session.save(Path("b"));
  EXPECT_NE(std::memcmp(inspect(Path("b")).ledger, info.ledger, 32), 0);
}

TEST_F(FilesTest, VerifySeesWhatInspectDoesNot) {
  Session session = Made(300);
  session.save(Path());
  uint64_t last = 0, total = 0;
  verify(Path(), [&](uint64_t done, uint64_t of) {
    EXPECT_GE(done, last);
    last = done, total = of;
    return false;
  });
  EXPECT_GT(last, 0u);
  EXPECT_LE(last, total);
  EXPECT_EQ(CodeOf([&] { verify(Path(), [](uint64_t, uint64_t) { return true; }); }),
            RILL_E_CANCELLED);
  const std::string good = ReadFile(Path());
  int unseen = 0;
  for (size_t at = 16384; at < good.size(); at += 3001) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    WriteFile(Path(), damaged);
    EXPECT_EQ(CodeOf([&] { verify(Path()); }), RILL_E_CORRUPT) << at;
    unseen += CodeOf([&] { inspect(Path()); }) == RILL_OK;
  }
  EXPECT_GT(unseen, 0) << "pages are not looked at";
}

TEST_F(FilesTest, CompactGivesBackWhatWasSuperseded) {
  Session session = Made(260);
  session.attach(Path());
  for (int i = 0; i < 4; ++i) {
    session.rewind(130);
    session.append(random_.Ids(150));
    session.flush();
  }
  const auto before = inspect(Path());
  EXPECT_GT(before.superseded, 0u);
  const auto report = compact(Path(), Path("b"));
  const auto after = inspect(Path("b"));
  EXPECT_EQ(after.superseded, 0u);
  EXPECT_EQ(after.revision, 1u);
  EXPECT_LT(after.file_bytes, before.file_bytes);
  EXPECT_EQ(report.file_bytes, after.file_bytes);
  EXPECT_EQ(std::memcmp(after.ledger, before.ledger, 32), 0);
  verify(Path("b"));
  Session loaded = Session::load(model_, Path("b"));
  EXPECT_EQ(loaded.logits(), session.logits());
  compact(Path(), Path());
  EXPECT_EQ(ReadFile(Path()), ReadFile(Path("b"))) << "in place";
  session.step(1);
  EXPECT_EQ(CodeOf([&] { session.flush(); }), RILL_E_STATE) << "the file was replaced";
  auto bare = params<rill_save_params>();
  bare.parts = RILL_SAVE_BARE;
  compact(Path(), Path("c"), bare);
  EXPECT_EQ(inspect(Path("c")).checkpoints, 0u);
  WriteFile(Path("d"), ReadFile(Path()).substr(0, 20000));
  EXPECT_EQ(CodeOf([&] { compact(Path("d"), Path("e")); }), RILL_E_CORRUPT);
  EXPECT_FALSE(std::filesystem::exists(Path("e")));
  EXPECT_EQ(CodeOf([&] { compact(Path(), Path("no folder/x")); }), RILL_E_IO);
}

TEST_F(FilesTest, DiffCountsWhatIsInCommon) {
  Session session = Made(200);
  session.save(Path());
  session.rewind(150);
  const int32_t next = session.tokens().back();
  Session fork = session.fork();
  session.append({next, next, next});
  session.save(Path("b"));
  auto difference = diff(Path(), Path("b"));
  EXPECT_EQ(difference.identity, 0u);
  EXPECT_EQ(difference.tokens_a, 200u);
  EXPECT_EQ(difference.tokens_b, 153u);
  EXPECT_GE(difference.common_tokens, 150u);
  EXPECT_LE(difference.common_tokens, 153u);
  const auto same = diff(Path("b"), Path("b"));
  EXPECT_EQ(same.common_tokens, 153u);
  const Model other(TinyModelWithoutTokenizerPath());
  Session theirs(other, SmallSession());
  theirs.append(session.tokens());
  theirs.save(Path("c"));
  difference = diff(Path("b"), Path("c"));
  EXPECT_EQ(difference.identity,
            static_cast<uint32_t>(RILL_DIFFERS_TOKENIZER | RILL_DIFFERS_WEIGHTS));
  EXPECT_EQ(difference.common_tokens, 153u);
}

TEST_F(FilesTest, WhatIsNoSessionFileHasItsCode) {
  const std::string model = TinyModelPath(), missing = Path("missing");
  const auto each = [&](const std::string& path) {
    std::vector<rill_status> codes;
    auto info = params<rill_file_info>();
    info.tokens = 7;
    codes.push_back(rill_file_inspect(path.data(), path.size(), &info));
    EXPECT_EQ(info.tokens, 0u);
    codes.push_back(rill_file_verify(path.data(), path.size(), nullptr, nullptr));
    codes.push_back(rill_file_compact(path.data(), path.size(), missing.data(), missing.size(),
                                      nullptr, nullptr));
    auto difference = params<rill_file_difference>();
    codes.push_back(
        rill_file_diff(path.data(), path.size(), path.data(), path.size(), &difference));
    return codes;
  };
  for (const rill_status status : each(missing)) EXPECT_EQ(status, RILL_E_IO) << LastError();
  for (const rill_status status : each(model)) EXPECT_EQ(status, RILL_E_ARG) << LastError();
  for (const rill_status status : each(dir_.path())) EXPECT_EQ(status, RILL_E_ARG) << LastError();
}

}  // namespace
}  // namespace rill::test
