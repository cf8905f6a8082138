// Session files through the public interface: a session that comes back goes on as if it had never
// stopped, and everything that cannot be done has its code.
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>

#include "gtest/gtest.h"
#include "tests/c_api/session_case.h"

namespace rill::test {
namespace {

class PersistTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name = "a.rillstate") const { return dir_ / name; }
  // A session of some length, and the reply it would give.
  Session Made(size_t n) {
    Session session(model_, SmallSession());
    session.append(random_.Ids(n));
    return session;
  }
  Reply ReplyTo(Session& session) {
    const Snapshot before = session.snapshot();
    const Reply reply = Finish(session.generate(params_));
    session.restore(before);
    return reply;
  }

  TempDir dir_;
  Random random_;
  const Model model_{TinyModelPath()};
  const rill_gen_params params_ = ReplyOf(20, 5);
};

TEST_F(PersistTest, ALoadedSessionGoesOnAsIfItHadNeverStopped) {
  for (const size_t n : {1u, 15u, 128u, 300u}) {
    Session session = Made(n);
    session.set_user(std::string("title\0of mine", 13));
    const auto saved = session.save(Path());
    EXPECT_EQ(saved.revision, 1u);
    EXPECT_EQ(saved.kept_tokens, 0u);
    EXPECT_EQ(saved.new_tokens, n);
    EXPECT_EQ(saved.file_bytes, std::filesystem::file_size(Path()));
    EXPECT_GE(saved.total_bytes, saved.page_bytes + saved.state_bytes + saved.extra_bytes);
    const Model again(TinyModelPath());
    rill_load_report report;
    Session loaded = Session::load(again, Path(), params<rill_load_params>(), &report);
    EXPECT_EQ(report.tokens, n);
    EXPECT_EQ(report.revision, 1u);
    EXPECT_EQ(report.max_tokens, 512u);
    EXPECT_EQ(report.checkpoints, session.checkpoints().size());
    EXPECT_EQ(report.reply_open, 0);
    EXPECT_EQ(report.unfinished_flush, 0);
    EXPECT_EQ(loaded.tokens(), session.tokens());
    EXPECT_EQ(loaded.logits(), session.logits());
    EXPECT_EQ(loaded.user(), session.user());
    EXPECT_EQ(loaded.checkpoints(), session.checkpoints());
    EXPECT_EQ(loaded.stats().prefill_tokens, 0u) << "nothing is computed again";
    EXPECT_EQ(Finish(loaded.generate(params_)), Finish(session.generate(params_)));
    EXPECT_EQ(loaded.rewind(n / 2).recomputed, session.rewind(n / 2).recomputed);
    EXPECT_EQ(loaded.tokens(), session.tokens());
  }
}

TEST_F(PersistTest, WhatIsLeftOutIsSmallerAndCostsOnlyTime) {
  Session session = Made(200);
  auto bare = params<rill_save_params>(), ladder = bare;
  bare.parts = RILL_SAVE_BARE;
  ladder.parts = RILL_SAVE_LADDER;
  const auto all = session.save(Path("all"));
  const auto some = session.save(Path("some"), ladder);
  const auto least = session.save(Path("least"), bare);
  EXPECT_GT(all.extra_bytes, some.extra_bytes);
  EXPECT_GT(some.extra_bytes, 0u);
  EXPECT_EQ(least.extra_bytes, 0u);
  EXPECT_LT(least.file_bytes, some.file_bytes);
  rill_load_report report;
  Session loaded = Session::load(model_, Path("least"), params<rill_load_params>(), &report);
  EXPECT_EQ(report.checkpoints, 0u);
  EXPECT_EQ(report.recorded, 0u);
  EXPECT_GT(loaded.rewind(190).recomputed, session.rewind(190).recomputed);
  EXPECT_EQ(loaded.logits(), session.logits());
}

TEST_F(PersistTest, LoadParamsShapeTheSession) {
  Session session = Made(100);
  session.save(Path());
  const uint64_t planned = session.stats().planned_bytes;
  EXPECT_EQ(Session::load(model_, Path()).stats().planned_bytes, planned) << "as saved";
  auto wanted = params<rill_load_params>();
  wanted.max_tokens = 2048;
  wanted.prefill_chunk = 32;
  wanted.ladder_slots = 20;
  wanted.rewind_window = RILL_NO_REWIND_WINDOW;
  wanted.lazy = 1;
  Session other = Session::load(model_, Path(), wanted);
  auto shape = SmallSession(2048, 32);
  shape.ladder_slots = 20;
  shape.rewind_window = RILL_NO_REWIND_WINDOW;
  EXPECT_EQ(other.stats().planned_bytes, Session(model_, shape).stats().planned_bytes);
  EXPECT_EQ(other.logits(), session.logits());
  wanted = params<rill_load_params>();
  wanted.max_tokens = 99;
  EXPECT_EQ(CodeOf([&] { Session::load(model_, Path(), wanted); }), RILL_E_CONTEXT_FULL);
  EXPECT_NE(LastError().find("99"), std::string::npos) << LastError();
}

TEST_F(PersistTest, AnOpenReplyIsSavedInsideACharacter) {
  const rill_token_bias only[] = {{0xe2, 1000.0f}};
  auto half = ReplyOf(6, 1, 0);
  half.bias = only;
  half.n_bias = 1;
  Session session = Made(10);
  Generation generation = session.generate(half);
  Reply said;
  const Event event = generation.next();
  said.ids.push_back(event.id);
  EXPECT_TRUE(event.text.empty()) << "the first byte of three";
  session.save(Path());
  rill_load_report report;
  Session loaded = Session::load(model_, Path(), params<rill_load_params>(), &report);
  EXPECT_EQ(report.reply_open, 1);
  const Reply whole = Finish(std::move(generation), said);
  EXPECT_EQ(Finish(loaded.resume(), said), whole);
  EXPECT_EQ(whole.text.size(), 18u);
}

TEST_F(PersistTest, AFlushWritesWhatIsNew) {
  Session session = Made(300);
  EXPECT_EQ(CodeOf([&] { session.flush(); }), RILL_E_STATE) << "not attached";
  const auto first = session.attach(Path());
  const auto none = session.flush();
  EXPECT_EQ(none.total_bytes, 0u);
  EXPECT_EQ(none.kept_tokens, 300u);
  for (int turn = 0; turn < 4; ++turn) {
    session.append(random_.Ids(9));
    Finish(session.generate(params_));
    const auto flushed = session.flush();
    EXPECT_EQ(flushed.revision, static_cast<uint64_t>(turn) + 2);
    EXPECT_EQ(flushed.new_tokens, 29u);
    EXPECT_EQ(flushed.kept_tokens + flushed.new_tokens, session.length());
    EXPECT_LT(flushed.total_bytes, first.total_bytes);
    Session loaded = Session::load(model_, Path());
    EXPECT_EQ(loaded.tokens(), session.tokens());
    EXPECT_EQ(loaded.logits(), session.logits());
  }
  session.rewind(310);
  session.append(random_.Ids(3));
  EXPECT_EQ(session.flush().kept_tokens, 310u);
  EXPECT_EQ(Session::load(model_, Path()).logits(), session.logits());
  session.detach();
  session.detach();
  EXPECT_EQ(CodeOf([&] { session.flush(); }), RILL_E_STATE);
}

TEST_F(PersistTest, ALoadedSessionMayStayAttached) {
  Session session = Made(140);
  session.save(Path());
  auto attached = params<rill_load_params>();
  attached.attach = 1;
  Session loaded = Session::load(model_, Path(), attached);
  loaded.append(random_.Ids(7));
  EXPECT_EQ(loaded.flush().new_tokens, 7u);
  EXPECT_EQ(Session::load(model_, Path()).tokens(), loaded.tokens());
  WriteFile(Path(), ReadFile(Path()) + "x");
  loaded.step(1);
  EXPECT_EQ(CodeOf([&] { loaded.flush(); }), RILL_E_STATE) << "somebody else wrote to it";
  loaded.attach(Path());
  EXPECT_EQ(Session::load(model_, Path()).length(), 148u);
}

TEST_F(PersistTest, SleepGivesTheMemoryBackAndAnyCallWakes) {
  Session session = Made(150), twin = session.fork();
  const auto before = session.stats();
  session.set_user("u");
  session.hibernate(Path());
  EXPECT_TRUE(session.asleep());
  EXPECT_EQ(session.stats().device_bytes, 0u);
  EXPECT_EQ(session.length(), 150u);
  EXPECT_EQ(session.user(), "u");
  EXPECT_TRUE(session.asleep()) << "none of these needs the session";
  EXPECT_EQ(session.logits(), twin.logits());
  EXPECT_FALSE(session.asleep());
  EXPECT_EQ(session.stats().device_bytes, before.device_bytes);
  EXPECT_EQ(CodeOf([&] { session.hibernate(); }), RILL_E_STATE) << "not attached";
  EXPECT_FALSE(session.asleep());
  session.attach(Path("b"));
  twin.step(1);
  session.step(1);
  session.hibernate();
  EXPECT_EQ(Finish(session.generate(params_)), Finish(twin.generate(params_)));
  session.hibernate();
  session.wake();
  session.wake();
  EXPECT_EQ(session.tokens(), twin.tokens());
}

TEST_F(PersistTest, AReplyGoesOnAfterSleep) {
  Session session = Made(40), twin = session.fork();
  Generation generation = session.generate(params_), straight = twin.generate(params_);
  const Reply expected = Finish(std::move(straight));
  Reply said;
  for (int i = 0; i < 6; ++i) {
    const Event event = generation.next();
    said.ids.push_back(event.id);
    said.text += event.text;
    session.hibernate(Path());
    EXPECT_TRUE(session.asleep());
  }
  EXPECT_EQ(Finish(std::move(generation), said), expected);
}

TEST_F(PersistTest, ASessionThatCannotWakeSleepsOn) {
  Session session = Made(60);
  const auto logits = session.logits();
  session.hibernate(Path());
  std::filesystem::rename(Path(), Path("elsewhere"));
  EXPECT_EQ(CodeOf([&] { session.step(1); }), RILL_E_IO);
  EXPECT_EQ(CodeOf([&] { session.generate(); }), RILL_E_IO);
  EXPECT_EQ(CodeOf([&] { session.wake(); }), RILL_E_IO);
  const std::string good = ReadFile(Path("elsewhere"));
  WriteFile(Path(), good.substr(0, good.size() / 2));
  EXPECT_EQ(CodeOf([&] { session.logits(); }), RILL_E_CORRUPT) << LastError();
  Made(61).save(Path());
  EXPECT_EQ(CodeOf([&] { session.logits(); }), RILL_E_CORRUPT) << "another session's file";
  EXPECT_TRUE(session.asleep());
  std::filesystem::rename(Path("elsewhere"), Path());
  EXPECT_EQ(session.logits(), logits);
}

TEST_F(PersistTest, StorageOfTheCallersHasTheSameBytes) {
  Session session = Made(200);
  session.save(Path());
  std::string bytes;
  const auto report = session.write(
      [&](const void* data, size_t n) { bytes.append(static_cast<const char*>(data), n); });
  EXPECT_EQ(report.file_bytes, bytes.size());
  EXPECT_EQ(bytes, ReadFile(Path()));
  rill_load_report loaded_report;
  Session loaded = Session::read(
      model_, bytes.size(),
      [&](uint64_t offset, void* data, size_t n) {
        ASSERT_LE(offset + n, bytes.size());
        std::memcpy(data, bytes.data() + offset, n);
      },
      params<rill_load_params>(), &loaded_report);
  EXPECT_EQ(loaded_report.mapped, 0);
  bytes.assign(bytes.size(), '\0');  // is not asked for again
  EXPECT_EQ(loaded.logits(), session.logits());
  EXPECT_EQ(loaded.rewind(190).recomputed, session.rewind(190).recomputed);
  EXPECT_EQ(loaded.logits(), session.logits());
  EXPECT_EQ(Finish(loaded.generate(params_)), Finish(session.generate(params_)));
}

TEST_F(PersistTest, AFullDiskBehindACallbackIsAnErrorAndNothingElse) {
  Session session = Made(120);
  const Reply reply = ReplyTo(session);
  struct Disk {
    size_t left;
    int calls = 0;
  };
  const auto write = [](void* ud, const void*, size_t n) -> int32_t {
    auto* disk = static_cast<Disk*>(ud);
    ++disk->calls;
    if (n > disk->left) return 28;
    disk->left -= n;
    return 0;
  };
  for (const size_t room : {0u, 1000u, 20000u}) {
    Disk disk{room};
    auto report = params<rill_save_report>();
    EXPECT_EQ(rill_session_write(session.get(), nullptr, write, &disk, &report), RILL_E_IO);
    EXPECT_NE(LastError().find("28"), std::string::npos) << LastError();
    EXPECT_EQ(report.total_bytes, 0u);
    EXPECT_GE(disk.calls, 1);
  }
  EXPECT_EQ(Finish(session.generate(params_)), reply);
  struct Own {};
  EXPECT_THROW(session.write([](const void*, size_t) { throw Own{}; }), Own);
  const auto refuse = [](void*, uint64_t, void*, size_t) -> int32_t { return 5; };
  rill_session* none = nullptr;
  EXPECT_EQ(rill_session_read(model_.get(), 1 << 20, refuse, nullptr, nullptr, &none, nullptr),
            RILL_E_IO);
  EXPECT_NE(LastError().find("5"), std::string::npos) << LastError();
}

TEST_F(PersistTest, ARealFileThatCannotGrowLeavesTheOldOne) {
  Session session = Made(100);
  session.save(Path());
  const std::string old = ReadFile(Path());
  session.append(random_.Ids(50));
  const auto logits = session.logits();
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{20000, limit.rlim_max};
  const auto was = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const rill_status status = CodeOf([&] { session.save(Path()); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, was);
  EXPECT_EQ(status, RILL_E_IO) << LastError();
  EXPECT_EQ(ReadFile(Path()), old);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    files += entry.is_regular_file();
  }
  EXPECT_EQ(files, 1u) << "no temporary file is left";
  EXPECT_EQ(session.logits(), logits);
  session.save(Path());
  EXPECT_EQ(Session::load(model_, Path()).logits(), logits);
}

TEST_F(PersistTest, FilesThatAreNotWhatTheyShouldBeHaveTheirCodes) {
  Session session = Made(150);
  session.save(Path());
  const std::string good = ReadFile(Path());
  const auto load = [&](const std::string& bytes) {
    WriteFile(Path("x"), bytes);
    return CodeOf([&] { Session::load(model_, Path("x")); });
  };
  EXPECT_EQ(CodeOf([&] { Session::load(model_, Path("missing")); }), RILL_E_IO);
  EXPECT_NE(LastError().find("missing"), std::string::npos) << LastError();
  EXPECT_EQ(load("no session at all, but long enough to look like something"), RILL_E_ARG);
  EXPECT_EQ(load(""), RILL_E_ARG) << LastError();
  EXPECT_EQ(load(ReadFile(TinyModelPath())), RILL_E_ARG) << LastError();
  for (const size_t size : {good.size() - 1, good.size() / 2, size_t{8192}}) {
    EXPECT_EQ(load(good.substr(0, size)), RILL_E_CORRUPT) << size << ": " << LastError();
  }
  for (int i = 0; i < 200; ++i) {
    std::string damaged = good;
    const size_t at = random_.Below(damaged.size());
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random_.Below(8)));
    const rill_status status = load(damaged);
    const bool named = status == RILL_E_CORRUPT ||
                       (at < 4096 && (status == RILL_E_ARG || status == RILL_E_FORMAT_VERSION));
    EXPECT_TRUE(named) << at << ": " << rill_status_name(status) << " " << LastError();
  }
  const Model other(TinyModelWithoutTokenizerPath());
  EXPECT_EQ(CodeOf([&] { Session::load(other, Path()); }), RILL_E_MISMATCH);
  EXPECT_NE(LastError().find("tokenizer"), std::string::npos) << LastError();
  auto p = params<rill_model_params>();
  p.device = "ref";
  p.device_len = 3;
  const Model ref(TinyModelPath(), p);
  EXPECT_EQ(CodeOf([&] { Session::load(ref, Path()); }), RILL_E_MISMATCH);
  EXPECT_NE(LastError().find("numerics"), std::string::npos) << LastError();
  auto any = params<rill_load_params>();
  any.any_numerics = 1;
  EXPECT_EQ(Session::load(ref, Path(), any).tokens(), session.tokens());
}

TEST_F(PersistTest, SavingIsCancelledAndChangesNothing) {
  Session session = Made(250);
  session.save(Path());
  const std::string old = ReadFile(Path());
  session.step(1);
  auto params = rill::params<rill_save_params>();
  int calls = 0;
  params.progress = [](void* ud, uint64_t done, uint64_t total) -> int32_t {
    EXPECT_LE(done, total);
    return ++*static_cast<int*>(ud) == 3;
  };
  params.progress_ud = &calls;
  EXPECT_EQ(CodeOf([&] { session.save(Path(), params); }), RILL_E_CANCELLED);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(ReadFile(Path()), old);
  auto load = rill::params<rill_load_params>();
  load.progress = [](void*, uint64_t, uint64_t) -> int32_t { return 1; };
  EXPECT_EQ(CodeOf([&] { Session::load(model_, Path(), load); }), RILL_E_CANCELLED);
}

TEST_F(PersistTest, UserBytesAreTheTimelines) {
  Session session = Made(5);
  EXPECT_EQ(session.user(), "");
  session.set_user("one");
  Session fork = session.fork();
  fork.set_user("two");
  EXPECT_EQ(session.user(), "one");
  EXPECT_EQ(session.fork().user(), "one");
  session.set_user("");
  EXPECT_EQ(session.user(), "");
  char small[2];
  size_t n = 0;
  EXPECT_EQ(rill_session_get_user(fork.get(), small, 2, &n), RILL_E_ARG);
  EXPECT_EQ(n, 3u);
}

}  // namespace
}  // namespace rill::test
