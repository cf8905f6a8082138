// Sessions in files: saved, loaded, followed, asleep; each the same bits as one that never left memory.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "model/graph/state.h"
#include "sdk/session_file/session_file.h"
#include "sdk/snapshot.h"
#include "tests/sdk/referee.h"
#include "tests/sdk/scripted_model.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_dir.h"

namespace rill::test {
namespace {

const std::string kPath = "/chat.rillstate";

std::string OwnProgram() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

SessionShape Shape(int64_t max_tokens = 400) {
  SessionShape shape;
  shape.max_tokens = max_tokens;
  shape.prefill_chunk = 32;
  shape.rewind_window = 8;
  return shape;
}

std::unique_ptr<Session> Load(std::shared_ptr<const Model> model, FileSystem& fs, const LoadParams& params = {},
                              LoadReport* report = nullptr) {
  auto loaded = Session::Load(std::move(model), fs, kPath, params, report);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : nullptr;
}

class PersistTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(HostDevices, PersistTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

TEST_P(PersistTest, EverySplitPointComesBackWithItsBits) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 300);
  const std::vector<Row> rows = RowsOf(model, ids);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  for (int64_t split = 0; split <= 256; split += kThin) {
    ASSERT_TRUE(session->Sync(absl::MakeConstSpan(ids.data(), split)).ok());
    const auto saved = session->Save(fs, kPath);
    ASSERT_TRUE(saved.ok()) << saved.status();
    LoadParams params;
    params.lazy = split % 2 == 1;
    LoadReport report;
    const auto loaded = Load(model, fs, params, &report);
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(report.tokens, static_cast<uint64_t>(split));
    ASSERT_EQ(Difference(Everything(*loaded), Everything(*session)), "") << split;
    if (split > 8) {  // the records came along: a short rewind still needs no layers
      const auto cost = loaded->CostOfRewind(split - 5);
      ASSERT_TRUE(cost.ok());
      EXPECT_LE(cost->recomputed, 1u) << split;
    }
    for (Session* each : {loaded.get(), session.get()}) {
      const int64_t end = std::min<int64_t>(split + 2, 300);
      ASSERT_TRUE(each->Append(absl::MakeConstSpan(ids.data() + split, end - split)).ok());
      ASSERT_TRUE(SameBits(LogitsOf(*each), rows[end - 1])) << split;
    }
    const int64_t back = random.Int(1, split + 1);
    ASSERT_TRUE(loaded->Rewind(back).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*loaded), rows[back - 1])) << split << " back to " << back;
  }
}

// Another process, other numbers of threads.
TEST(PersistProcessTest, AnotherProcessGoesOnWithTheSameBits) {
  constexpr uint64_t kSeed = 77;
  const char* path = std::getenv("RILL_TEST_LOAD");
  if (path != nullptr) {  // the other process
    const auto model = MakeModel("cpu", kSeed, "q4", std::atoi(std::getenv("RILL_TEST_THREADS")));
    auto loaded = Session::Load(model, *FileSystem::Posix(), path);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    for (int i = 0; i < 40; ++i) {
      SamplingParams sampling;
      sampling.seed = 5;
      const auto sampled = (*loaded)->Sample(sampling);
      ASSERT_TRUE(sampled.ok());
      ASSERT_TRUE((*loaded)->Step(sampled->id).ok());
    }
    ASSERT_TRUE((*loaded)->Save(*FileSystem::Posix(), path).ok());
    return;
  }
  Random random;
  const std::vector<int32_t> ids = RandomIds(random, 150);
  for (const int threads : {1, 2, 7}) {
    const TempDir dir;
    const std::string file = dir.path() + "/chat.rillstate";
    const auto model = MakeModel("cpu", kSeed, "q4", 2);
    const auto session = NewSession(model, Shape());
    ASSERT_TRUE(session->Append(ids).ok());
    ASSERT_TRUE(session->Save(*FileSystem::Posix(), file).ok());
    const ProgramResult run = RunProgram({"/usr/bin/env", "RILL_TEST_LOAD=" + file, "RILL_TEST_THREADS=" + std::to_string(threads),
                                          OwnProgram(), "--gtest_filter=PersistProcessTest.*"});
    ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
    SamplingParams sampling;
    sampling.seed = 5;
    for (int i = 0; i < 40; ++i) {
      const auto sampled = session->Sample(sampling);
      ASSERT_TRUE(sampled.ok());
      ASSERT_TRUE(session->Step(sampled->id).ok());
    }
    auto loaded = Session::Load(model, *FileSystem::Posix(), file);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(Difference(Everything(**loaded), Everything(*session)), "") << threads << " threads";
  }
}

TEST_P(PersistTest, AFollowedFileIsAlwaysCurrentAndCostsWhatIsNew) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  MemoryFileSystem fs;
  auto session = NewSession(model, Shape(4000));
  EXPECT_EQ(session->Flush().status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(session->Attach(fs, kPath).ok());
  std::vector<int32_t> ids;
  for (int turn = 0; turn < 12; ++turn) {
    if (turn % 4 == 3) {
      const int64_t to = random.Int(0, static_cast<int64_t>(ids.size()));
      ASSERT_TRUE(session->Rewind(to).ok());
      ids.resize(static_cast<size_t>(to));
    }
    const std::vector<int32_t> more = RandomIds(random, random.Int(1, 300));
    ASSERT_TRUE(session->Append(more).ok());
    ids.insert(ids.end(), more.begin(), more.end());
    const auto report = session->Flush();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->kept_tokens + report->new_tokens, ids.size());
    EXPECT_EQ(report->rungs + report->ring, 0u);
    const auto nothing = session->Flush();
    ASSERT_TRUE(nothing.ok());
    EXPECT_EQ(nothing->total, 0u);
    LoadParams params;
    params.attach = turn % 3 == 2;
    auto loaded = Load(model, fs, params);
    ASSERT_NE(loaded, nullptr);
    ASSERT_EQ(Difference(Everything(*loaded), Everything(*session)), "") << turn;
    if (params.attach) session = std::move(loaded);  // the process was killed; another one goes on with the file
  }
  ASSERT_EQ(TokensOf(*session), ids);
  ASSERT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, ids).back()));
}

// Turns of 20 tokens, each flushed with its checkpoints. A session loaded from the file goes back to where any turn began:
// by one turn for nothing, further for at most what weighs as much in the file as a checkpoint.
TEST_P(PersistTest, ASessionLoadedFromAFollowedFileGoesBackCheaply) {
  constexpr int kTurns = 40;
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 20 * kTurns);
  const std::vector<Row> rows = RowsOf(model, ids);
  SessionShape shape = Shape(1000);
  shape.ladder_slots = 64;
  MemoryFileSystem fs;
  const auto session = NewSession(model, shape);
  ASSERT_TRUE(session->Attach(fs, kPath).ok());
  uint64_t rungs = 0, rung_bytes = 0, page_bytes = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data() + 20 * turn, 20)).ok());
    const auto report = session->Flush({Durability::kNone, true, false, {}});
    ASSERT_TRUE(report.ok()) << report.status();
    rungs += report->rungs > 0 ? 1 : 0;
    rung_bytes += report->rungs;
    page_bytes += report->pages + report->tokens;
  }
  const StateLayout layout = StateLayout::Make(model->config(), shape.mla_dtype);
  const uint64_t worth = layout.rung_bytes / (layout.page_bytes / kPageTokens + 4) + 1;
  ASSERT_LT(worth, 300u) << "the shape is too large for this test";
  EXPECT_GE(rungs, 2u);
  EXPECT_LE(rung_bytes, page_bytes + layout.rung_bytes) << "checkpoints outweigh the session";
  for (const bool lazy : {false, true}) {
    LoadParams params;
    params.lazy = lazy;
    for (int turn = kTurns - 1; turn > 0; --turn) {
      const auto loaded = Load(model, fs, params);
      ASSERT_NE(loaded, nullptr);
      const auto to = static_cast<uint64_t>(20 * turn);
      const auto cost = loaded->Rewind(to);
      ASSERT_TRUE(cost.ok()) << cost.status();
      EXPECT_LE(cost->recomputed, turn == kTurns - 1 ? 0 : worth + 20) << to;
      ASSERT_TRUE(SameBits(LogitsOf(*loaded), rows[to - 1])) << to;
    }
  }
}

// The checkpoint of the turn before lies in the slot that the next flush writes over.
TEST_P(PersistTest, AFlushAfterALoadLeavesTheCheckpointBeforeItAlone) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 150);
  const std::vector<Row> rows = RowsOf(model, ids);
  TempDir dir;
  FileSystem& fs = *FileSystem::Posix();
  const std::string path = dir / "chat.rillstate";
  LoadParams params;
  params.attach = true;
  for (const bool lazy : {true, false}) {
    const auto session = NewSession(model, Shape());
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data(), 50)).ok());
    ASSERT_TRUE(session->Attach(fs, path, {Durability::kNone, false, false, {}}).ok());
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data() + 50, 50)).ok());
    ASSERT_TRUE(session->Flush().ok());
    params.lazy = lazy;
    auto loaded = Session::Load(model, fs, path, params);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ASSERT_TRUE((*loaded)->Append(absl::MakeConstSpan(ids.data() + 100, 50)).ok());
    ASSERT_TRUE((*loaded)->Flush().ok());
    const auto cost = (*loaded)->Rewind(50);
    ASSERT_TRUE(cost.ok()) << cost.status();
    EXPECT_EQ(cost->recomputed, 0u);
    ASSERT_TRUE(SameBits(LogitsOf(**loaded), rows[49]));
    ASSERT_TRUE((*loaded)->Append(absl::MakeConstSpan(ids.data() + 50, 50)).ok());
    ASSERT_TRUE(SameBits(LogitsOf(**loaded), rows[99]));
  }
}

TEST_P(PersistTest, AFileOfAnotherModelIsRefusedByName) {
  const auto model = MakeModel(GetParam(), 1);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Append({1, 2, 3}).ok());
  ASSERT_TRUE(session->Save(fs, kPath).ok());
  const auto refused = [&](std::shared_ptr<const Model> other, const LoadParams& params = {}) {
    return Session::Load(std::move(other), fs, kPath, params).status();
  };
  EXPECT_EQ(MismatchedField(refused(MakeModel(GetParam(), 2))), "weights");
  EXPECT_EQ(MismatchedField(refused(MakeModel(GetParam(), 1, "q4"))), "quantization");
  const std::string elsewhere = GetParam() == "cpu" ? "ref" : "cpu";
  EXPECT_EQ(MismatchedField(refused(MakeModel(elsewhere, 1))), "numerics");
  LoadParams params;
  params.any_numerics = true;
  EXPECT_TRUE(refused(MakeModel(elsewhere, 1), params).ok());
  params = {};
  params.max_tokens = 2;
  EXPECT_EQ(refused(model, params).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Session::Load(model, fs, "/nowhere").status().code(), absl::StatusCode::kNotFound);
}

// A lazy load leaves checkpoints and records to the rewind that wants them: it refuses damaged ones, and the next does
// without.
TEST_P(PersistTest, LazyLoadsNoticeDamageWhenItMatters) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 200);
  const std::vector<Row> rows = RowsOf(model, ids);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Append(ids).ok());
  ASSERT_TRUE(session->Save(fs, kPath).ok());
  const auto file = SessionFile::Open(fs, kPath);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto offset = [&](const std::byte* data) {
    return static_cast<uint64_t>(data - (*file)->parsed().image->data());
  };
  const SessionContent content = (*file)->content();
  const RungContent& rung = content.ladder[1];
  ASSERT_LT(rung.position, 150u);
  const std::string whole = fs.Get(kPath);
  LoadParams lazy;
  lazy.lazy = true;
  const std::vector<std::pair<uint64_t, uint64_t>> damages = {{offset(rung.fixed.data()), rung.position + 3},
                                                              {offset(content.ring.bytes.data()), 195}};
  for (const auto& [at, to] : damages) {
    fs.Put(kPath, whole);
    fs.Poke(kPath, at, static_cast<char>(whole[at] ^ 1));
    EXPECT_EQ(Session::Load(model, fs, kPath).status().code(), absl::StatusCode::kDataLoss);
    const auto loaded = Load(model, fs, lazy);
    ASSERT_NE(loaded, nullptr);
    EXPECT_EQ(loaded->Rewind(to).status().code(), absl::StatusCode::kDataLoss);
    ASSERT_EQ(Difference(Everything(*loaded), Everything(*session)), "");
    ASSERT_TRUE(loaded->Rewind(to).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*loaded), rows[to - 1])) << to;
  }
}

TEST_P(PersistTest, SleepGivesMemoryBackAndAnyCallWakes) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 200);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  const uint64_t without = model->device().allocated_bytes();
  ASSERT_TRUE(session->Append(ids).ok());
  const std::string before = Everything(*session);
  for (const bool attached : {false, true}) {
    if (attached) {
      ASSERT_TRUE(session->Attach(fs, kPath).ok());
    }
    ASSERT_TRUE(session->Hibernate(fs, attached ? "" : kPath).ok());
    EXPECT_TRUE(session->asleep());
    EXPECT_EQ(session->length(), 200u);
    EXPECT_EQ(session->stats().device_bytes, 0u);
    EXPECT_LT(model->device().allocated_bytes(), without);
    ASSERT_EQ(Difference(Everything(*session), before), "");
    EXPECT_FALSE(session->asleep());
    EXPECT_EQ(model->device().allocated_bytes(), without);
  }
  ASSERT_TRUE(session->Hibernate(fs, "/other").ok());
  ASSERT_TRUE(fs.Rename("/other", "/elsewhere").ok());
  EXPECT_EQ(session->Step(1).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(session->asleep());
  ASSERT_TRUE(fs.Rename("/elsewhere", "/other").ok());
  ASSERT_TRUE(session->Wake().ok());
  ASSERT_EQ(Difference(Everything(*session), before), "");
}

// Sleep in the followed file, by way of a flush that takes no more of the ladder than it has to.
TEST_P(PersistTest, AfterSleepInAFollowedFileTheLastTurnsAreTakenBackCheaply) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 200);
  const std::vector<Row> rows = RowsOf(model, ids);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Attach(fs, kPath).ok());
  for (int turn = 0; turn < 4; ++turn) {
    ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data() + 50 * turn, 50)).ok());
    ASSERT_TRUE(session->Flush().ok());
  }
  ASSERT_TRUE(session->Hibernate(fs).ok());
  const auto records = session->CostOfRewind(195);
  ASSERT_TRUE(records.ok());
  EXPECT_EQ(records->recomputed, 1u) << "the records came along, and what they are replayed from";
  const auto turn = session->Rewind(150);
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->recomputed, 0u);
  ASSERT_TRUE(SameBits(LogitsOf(*session), rows[149]));
}

// What happened to the file in the meantime is noticed by whoever wakes the session, and mended by giving the file back.
TEST_P(PersistTest, AFileThatIsNotWhatItWasLeavesTheSessionAsleep) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  ASSERT_TRUE(session->Append(RandomIds(random, 200)).ok());
  const std::string before = Everything(*session);
  const auto other = NewSession(model, Shape());
  ASSERT_TRUE(other->Append(RandomIds(random, 200)).ok());
  ASSERT_TRUE(other->Save(fs, "/other").ok());
  ASSERT_TRUE(session->Hibernate(fs, kPath).ok());
  const std::string whole = fs.Get(kPath);
  const auto refuses = [&] {
    EXPECT_EQ(session->Logits().status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(session->Step(1).code(), absl::StatusCode::kDataLoss);
    EXPECT_TRUE(session->asleep());
    EXPECT_EQ(session->length(), 200u);
  };
  fs.Put(kPath, fs.Get("/other"));  // as many tokens of the same model
  refuses();
  for (int i = 0; i < 20; ++i) {
    fs.Put(kPath, whole);
    const auto at = static_cast<size_t>(random.Int(0, static_cast<int64_t>(whole.size()) - 1));
    fs.Poke(kPath, at, static_cast<char>(whole[at] ^ (1 << random.Int(0, 7))));
    SCOPED_TRACE("byte " + std::to_string(at));
    const absl::Status status = session->Wake();
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(session->asleep()) << status;
  }
  fs.Put(kPath, whole);
  ASSERT_TRUE(session->Wake().ok());
  ASSERT_EQ(Difference(Everything(*session), before), "");
}

// Half a character pending, a stop string half matched: the loaded session says the rest of the reply.
TEST_P(PersistTest, ASavedReplyGoesOnWhereItStood) {
  const ScriptedModel scripted({"hello", " wor", "ld", "\xE6\x97"});
  const std::vector<int32_t> script = {'x', scripted.merge(0), scripted.merge(1), scripted.merge(2),
                                       scripted.merge(3), 0xA5, '!', 'e', 'n', 'd'};
  for (const float temperature : {0.0f, 0.7f}) {
    GenerationParams params;
    params.sampling.temperature = temperature;
    params.sampling.seed = 3;
    params.use_model_stops = false;
    params.max_tokens = 9;
    params.stop_strings = {"world\xE6\x97\xA5?", "en?"};
    const auto model = scripted.Open(script, GetParam());
    for (int split = 0; split <= 9; ++split) {
      MemoryFileSystem fs;
      const auto session = MakeSession(model);
      ASSERT_TRUE(session->Append({'x'}).ok());
      auto generation = Generation::Begin(*session, params);
      ASSERT_TRUE(generation.ok()) << generation.status();
      for (int i = 0; i < split; ++i) ASSERT_TRUE((*generation)->Next().ok());
      ASSERT_TRUE(session->Save(fs, kPath).ok());
      LoadReport report;
      const auto loaded = Load(model, fs, {}, &report);
      ASSERT_NE(loaded, nullptr);
      EXPECT_TRUE(report.reply_open);
      auto resumed = Generation::Resume(*loaded);
      ASSERT_TRUE(resumed.ok()) << resumed.status();
      EXPECT_EQ(RestOfReply(**resumed), RestOfReply(**generation)) << split;
    }
  }
}

TEST_P(PersistTest, TheUserBlobComesBack) {
  const auto model = MakeModel(GetParam(), 1);
  MemoryFileSystem fs;
  const auto session = NewSession(model, Shape());
  const std::string blob("two\0words", 9);
  ASSERT_TRUE(session->SetUserBlob(blob).ok());
  ASSERT_TRUE(session->Save(fs, kPath).ok());
  EXPECT_EQ(*Load(model, fs)->UserBlob(), blob);
}

// Every file operation fails once: a code, the session whole, the file old or new.
TEST_P(PersistTest, AnyFileOperationMayFail) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  const std::vector<int32_t> ids = RandomIds(random, 150);
  enum { kSave, kFlush, kLoad, kSleep };
  for (const int what : {kSave, kFlush, kLoad, kSleep}) {
    for (int64_t n = 0;; ++n) {
      MemoryFileSystem disk;
      FaultyFileSystem fs(disk);
      const auto session = NewSession(model, Shape());
      ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data(), 100)).ok());
      ASSERT_TRUE(session->Attach(fs, kPath).ok());
      const std::string old_content = Everything(*session);
      ASSERT_TRUE(session->Append(absl::MakeConstSpan(ids.data() + 100, 50)).ok());
      const std::string new_content = Everything(*session);
      const int64_t begin = fs.operations();
      fs.SetFault({begin + n, absl::StatusCode::kResourceExhausted, false});
      absl::Status status;
      if (what == kSave) status = session->Save(fs, kPath).status();
      if (what == kFlush) status = session->Flush().status();
      if (what == kLoad) status = Session::Load(model, fs, kPath).status();
      if (what == kSleep) status = session->Hibernate(fs, "/bed").status();
      const bool reached = fs.operations() > begin + n;
      fs.SetFault({});
      ASSERT_EQ(Difference(Everything(*session), new_content), "") << what << " operation " << n;
      const auto loaded = Session::Load(model, disk, kPath);
      ASSERT_TRUE(loaded.ok()) << loaded.status() << what << " operation " << n;
      const std::string content = Everything(**loaded);
      ASSERT_TRUE(content == old_content || content == new_content) << what << " operation " << n;
      const auto names = disk.List("/");
      ASSERT_TRUE(names.ok());
      for (const std::string& name : *names) EXPECT_TRUE(name == "chat.rillstate" || name == "bed") << name;
      ASSERT_TRUE(session->Step(1).ok());
      if (!reached) {
        EXPECT_TRUE(status.ok()) << status;
        break;
      }
    }
  }
}

// Whatever is done in whatever order, in memory and in files, a session is what its tokens say.
TEST_P(PersistTest, RandomInterleavingsEqualAReplay) {
  Random random;
  const auto model = MakeModel(GetParam(), random.Bits());
  MemoryFileSystem fs;
  auto session = NewSession(model, Shape(320));
  std::vector<int32_t> ids, saved;
  bool has_file = false, attached = false;
  std::string history;
  for (int i = 0; i < 400 / kThin; ++i) {
    const int64_t room = 320 - static_cast<int64_t>(ids.size());
    const int64_t op = random.Int(0, 9);
    history += " " + std::to_string(op) + "@" + std::to_string(ids.size());
    switch (op) {
      case 0:
      case 1: {
        const std::vector<int32_t> more = RandomIds(random, std::min<int64_t>(room, random.Int(1, 90)));
        ASSERT_TRUE(session->Append(more).ok());
        ids.insert(ids.end(), more.begin(), more.end());
        break;
      }
      case 2:
        for (int64_t k = std::min<int64_t>(room, random.Int(1, 12)); k > 0; --k) {
          ids.push_back(static_cast<int32_t>(random.Int(0, 96)));
          ASSERT_TRUE(session->Step(ids.back()).ok());
        }
        break;
      case 3: {
        const int64_t n = static_cast<int64_t>(ids.size());
        const int64_t to = random.Int(0, 1) == 0 ? random.Int(0, n) : std::max<int64_t>(0, n - random.Int(0, 16));
        ASSERT_TRUE(session->Rewind(static_cast<uint64_t>(to)).ok());
        ids.resize(static_cast<size_t>(to));
        break;
      }
      case 4:
        ASSERT_TRUE(session->Save(fs, kPath, {Durability::kNone, random.Int(0, 1) == 0, random.Int(0, 1) == 0, {}}).ok());
        saved = ids, has_file = true, attached = false;
        break;
      case 5: {
        if (!has_file) break;
        LoadParams params;
        params.attach = random.Int(0, 1) == 0;
        params.lazy = random.Int(0, 1) == 0;
        session = Load(model, fs, params);
        ASSERT_NE(session, nullptr);
        ids = saved, attached = params.attach;
        break;
      }
      case 6:
        if (!attached) {
          ASSERT_TRUE(session->Attach(fs, kPath).ok());
        } else {
          ASSERT_TRUE(session->Flush({Durability::kNone, random.Int(0, 1) == 0, random.Int(0, 1) == 0, {}}).ok());
        }
        saved = ids, has_file = true, attached = true;
        break;
      case 7:
        ASSERT_TRUE(session->Hibernate(fs, "/bed").ok());
        break;
      case 8: {
        auto fork = session->Fork();
        ASSERT_TRUE(fork.ok());
        session = *std::move(fork);
        attached = false;
        break;
      }
      case 9: {
        const auto snapshot = session->TakeSnapshot();
        ASSERT_TRUE(snapshot.ok());
        if (room > 0) {
          ASSERT_TRUE(session->Step(3).ok());
        }
        ASSERT_TRUE(session->Restore(**snapshot).ok());
        break;
      }
    }
    if (ids.empty() || random.Int(0, 2) == 0) continue;
    ASSERT_EQ(TokensOf(*session), ids) << history;
    ASSERT_TRUE(SameBits(LogitsOf(*session), RowsOf(model, ids).back())) << history;
  }
}

}  // namespace
}  // namespace rill::test
