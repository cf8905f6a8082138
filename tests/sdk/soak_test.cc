// Long sessions: a hundred thousand tokens with a file in between every now and then are the same
// tokens, what a token costs does not grow, and memory does not either.
//
// RILL_SOAK_TOKENS sets how many (ctest runs 100,000 as sdk/soak_full).
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "model/io/sha256.h"
#include "sdk/snapshot.h"
#include "tests/sdk/referee.h"
#include "tests/support/counting_alloc.h"
#include "tests/support/devices.h"
#include "tests/support/memory_fs.h"

namespace rill::test {
namespace {

const std::string kPath = "/soak.rillstate";
constexpr int64_t kMaxTokens = 4096;
constexpr int64_t kBetweenFiles = 997;
constexpr int64_t kBetweenMessages = 331;
constexpr int64_t kMessage = 23;

int64_t SoakTokens() {
  const char* tokens = std::getenv("RILL_SOAK_TOKENS");
  return tokens == nullptr ? 5000 : std::atoll(tokens);
}

SessionShape Shape(int64_t window = 64, int64_t slots = 12) {
  SessionShape shape;
  shape.max_tokens = kMaxTokens;
  shape.prefill_chunk = 32;
  shape.rewind_window = window;
  shape.ladder_slots = slots;
  return shape;
}

SamplingParams Sampling() {
  SamplingParams sampling;
  sampling.temperature = 1.2f;
  sampling.top_p = 0.98f;
  sampling.repeat_penalty = 1.05f;
  sampling.seed = 11;
  return sampling;
}

// A conversation that depends on nothing but its seed and the session's answers: replies, messages,
// and, when the context is full, a rewind or a fresh start. On a GPU always the latter: there a
// rewind is near the state it goes back to, and how near depends on which records were at hand.
class Conversation {
 public:
  Conversation(uint64_t seed, bool rewinds) : random_(seed), rewinds_(rewinds) {}

  // One reply token, or what else is due before it.
  void Go(Session& session) {
    if (static_cast<int64_t>(session.length()) + kMessage + 1 > kMaxTokens) MakeRoom(session);
    if (session.length() == 0 || tokens_ % kBetweenMessages == 0) {
      ASSERT_TRUE(session.Append(RandomIds(random_, kMessage)).ok());
    }
    const auto sampled = session.Sample(Sampling());
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    ASSERT_TRUE(session.Step(sampled->id).ok());
    ++tokens_;
    Link(session, sampled->id);
  }

  int64_t tokens() const { return tokens_; }
  const std::vector<Sha256Digest>& chain() const { return chain_; }

 private:
  void MakeRoom(Session& session) {
    const int64_t to =
        random_.Int(0, 2) == 0 || !rewinds_ ? 0 : random_.Int(1, kMaxTokens - kMessage - 1);
    const auto cost = session.Rewind(static_cast<uint64_t>(to));
    ASSERT_TRUE(cost.ok()) << cost.status();
  }

  void Link(Session& session, int32_t id) {
    const Row row = LogitsOf(session);
    Sha256 sha;
    if (!chain_.empty()) sha.Update(chain_.back().data(), chain_.back().size());
    sha.Update(row.data(), row.size() * sizeof(float));
    sha.Update(&id, sizeof id);
    chain_.push_back(sha.Finish());
  }

  Random random_;
  const bool rewinds_;
  int64_t tokens_ = 0;
  std::vector<Sha256Digest> chain_;
};

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

class SoakTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = WhyAbsent(GetParam()); !why.empty()) GTEST_SKIP() << why;
    model_ = MakeModel(GetParam(), 21, "q4", 1);
    ASSERT_NE(model_, nullptr);
  }

  // Through a file into a new session: saved or flushed, read at once or lazily, by turns.
  void ThroughAFile(std::unique_ptr<Session>& session, int64_t turn) {
    if (turn % 4 < 2) {
      ASSERT_TRUE(session->Save(files_, kPath).ok());
    } else if (turn % 4 == 2) {
      ASSERT_TRUE(session->Attach(files_, kPath).ok());
    } else {
      const auto report = session->Flush();  // loaded attached the last time
      ASSERT_TRUE(report.ok()) << report.status();
    }
    LoadParams params;
    params.lazy = turn % 3 == 1;
    params.attach = turn % 4 == 2;
    const auto model = std::shared_ptr<const Model>(model_);
    session.reset();
    auto loaded = Session::Load(model, files_, kPath, params);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    session = *std::move(loaded);
  }

  std::shared_ptr<const Model> model_;
  MemoryFileSystem files_;
};
RILL_FOR_EACH_DEVICE(SoakTest);

class SoakOnTheHostTest : public SoakTest {};
INSTANTIATE_TEST_SUITE_P(HostDevices, SoakOnTheHostTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

TEST_P(SoakTest, AChainOfTokensDoesNotSeeTheFilesInIt) {
  const int64_t n = SoakTokens() / (GetParam() == "ref" ? 5 : 1);  // it is that much slower
  const bool rewinds = model_->device().is_host();
  Conversation straight(3, rewinds), through(3, rewinds);
  const auto session = NewSession(model_, Shape());
  auto other = NewSession(model_, Shape());
  int64_t files = 0;
  for (int64_t i = 0; i < n; ++i) {
    straight.Go(*session);
    through.Go(*other);
    if (HasFatalFailure()) FAIL() << "token " << i;
    ASSERT_EQ(through.chain().back(), straight.chain().back())
        << "token " << i << ", " << files << " files, the last after " << files * kBetweenFiles;
    if (through.tokens() % kBetweenFiles == 0) {
      ThroughAFile(other, files++);
      if (HasFatalFailure()) FAIL() << "file " << files;
    }
  }
  EXPECT_EQ(files, n / kBetweenFiles);
  EXPECT_EQ(TokensOf(*other), TokensOf(*session));
}

// Lap after lap through a full context: nothing from the heap, nothing from the device, and a
// process that stays as large as it was after the first lap.
TEST_P(SoakTest, AChainOfTokensTakesNoMemory) {
  constexpr int64_t kLap = 1024;
  const int64_t n = SoakTokens() / (GetParam() == "ref" ? 5 : 1);
  Random random;
  SessionShape shape = Shape();
  shape.max_tokens = kLap;
  const auto session = NewSession(model_, shape);
  const std::vector<int32_t> message = RandomIds(random, kMessage);
  const SamplingParams sampling = Sampling();
  uint64_t allocations = 0, device = 0, peak = 0, resident = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i % (kLap - kMessage) == 0) {
      ASSERT_TRUE(session->Reset().ok());
      ASSERT_TRUE(session->Append(message).ok());
    }
    ASSERT_TRUE(session->Step(static_cast<int32_t>(random.Int(0, 96))).ok());
    ASSERT_TRUE(session->Sample(sampling).ok());
    ASSERT_TRUE(session->Logits().ok());
    if (i == std::min(kLap, n / 2)) {
      device = model_->device().allocated_bytes(), peak = model_->device().peak_allocated_bytes();
      resident = ResidentBytes();
      allocations = AllocationCount();  // last: reading the size of the process takes one
    }
  }
  EXPECT_EQ(AllocationCount() - allocations, 0u);
  EXPECT_EQ(model_->device().allocated_bytes(), device);
  EXPECT_EQ(model_->device().peak_allocated_bytes(), peak);
  const uint64_t grown = std::max(ResidentBytes(), resident) - resident;
  printf("[ measured ] %s: %lld tokens, resident memory %llu bytes and %llu more\n",
         GetParam().c_str(), static_cast<long long>(n), static_cast<unsigned long long>(resident),
         static_cast<unsigned long long>(grown));
  EXPECT_LE(grown, uint64_t{1} << 20);
}

// From a full ladder on: every 64th token takes a rung and gives one up.
TEST_P(SoakTest, ATokenAllocatesNothingWhileTheLadderGrows) {
  Random random;
  auto session = NewSession(model_, Shape());
  ASSERT_TRUE(session->Append(RandomIds(random, 600)).ok());
  ASSERT_TRUE(session->Save(files_, kPath).ok());
  auto loaded = Session::Load(model_, files_, kPath);
  auto fork = session->Fork();
  ASSERT_TRUE(loaded.ok() && fork.ok());
  const SamplingParams sampling = Sampling();
  for (Session* each : {session.get(), loaded->get(), fork->get()}) {
    uint64_t allocations = 0, bytes = 0, rungs[16] = {}, later[16] = {};
    for (int i = 0; i < 1500; ++i) {
      if (i == 200) {
        ASSERT_TRUE(each->Checkpoints(rungs).ok());
        allocations = AllocationCount(), bytes = model_->device().allocated_bytes();
      }
      ASSERT_TRUE(each->Step(i % 97).ok());
      ASSERT_TRUE(each->Sample(sampling).ok());
    }
    EXPECT_EQ(AllocationCount() - allocations, 0u);
    EXPECT_EQ(model_->device().allocated_bytes(), bytes);
    const auto n = each->Checkpoints(later);
    ASSERT_TRUE(n.ok());
    ASSERT_GE(*n, 4u);
    EXPECT_GT(later[*n - 1], rungs[*n - 1] + 1000) << "the ladder stood still";
  }
}

// What the plan says is what a session takes, and a fork as much again, whatever is done with them.
TEST_P(SoakOnTheHostTest, PlansHoldForLaddersRingsAndForks) {
  Random random;
  Device& device = model_->device();
  for (const int64_t window : {0, 8, 64}) {
    for (const int64_t slots : {8, 12, 40}) {
      const uint64_t before = device.allocated_bytes();
      auto session = NewSession(model_, Shape(window, slots));
      const double planned = static_cast<double>(session->plan().total());
      const auto taken = [&] { return static_cast<double>(device.allocated_bytes() - before); };
      EXPECT_NEAR(taken(), planned, 0.01 * planned) << window << " " << slots;
      ASSERT_TRUE(session->Append(RandomIds(random, 1000)).ok());
      if (slots > 8) {
        ASSERT_TRUE(session->Mark(7).ok());
      }
      auto fork = session->Fork();
      ASSERT_TRUE(fork.ok());
      EXPECT_NEAR(taken(), 2 * planned, 0.02 * planned) << window << " " << slots;
      ASSERT_TRUE((*fork)->Rewind(700).ok());
      ASSERT_TRUE((*fork)->Append(RandomIds(random, 500)).ok());
      ASSERT_TRUE(session->Append(RandomIds(random, 500)).ok());
      EXPECT_NEAR(taken(), 2 * planned, 0.02 * planned) << window << " " << slots;
      const double two = taken();
      auto snapshot = session->TakeSnapshot();
      ASSERT_TRUE(snapshot.ok());
      EXPECT_EQ(taken() - two, static_cast<double>((*snapshot)->bytes()));
      EXPECT_EQ(session->stats().planned_bytes, session->plan().total());
      EXPECT_NEAR(static_cast<double>(session->stats().device_bytes), planned, 0.01 * planned);
      snapshot->reset();
      fork->reset();
      session.reset();
      EXPECT_EQ(device.allocated_bytes(), before) << window << " " << slots;
    }
  }
}

}  // namespace
}  // namespace rill::test
