// Warm is cold: whatever way a session came to a position, it is byte for byte the session that was fed once.
#include <ostream>

#include "sdk/snapshot.h"
#include "tests/sdk/referee.h"
#include "tests/support/memory_fs.h"

namespace rill::test {
namespace {

const std::string kPath = "/chat.rillstate";

struct Case {
  std::string device;
  int threads;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.device << ", " << c.threads << " threads"; }
};

class WarmColdTest : public ::testing::TestWithParam<Case> {
 protected:
  static SessionShape Shape() {
    SessionShape shape;
    shape.max_tokens = 320;
    shape.prefill_chunk = 32;
    shape.rewind_window = 8;
    return shape;
  }
  std::unique_ptr<Session> Fed(absl::Span<const int32_t> ids) {
    auto session = NewSession(model_, Shape());
    EXPECT_TRUE(session->Append(ids).ok());
    return session;
  }
  std::unique_ptr<Session> Loaded(bool lazy) {
    LoadParams params;
    params.lazy = lazy;
    auto session = Session::Load(model_, fs_, kPath, params);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }

  Random random_;
  std::shared_ptr<const Model> model_ = MakeModel(GetParam().device, random_.Bits(), "q8", GetParam().threads);
  MemoryFileSystem fs_;
};

INSTANTIATE_TEST_SUITE_P(HostDevices, WarmColdTest,
                         ::testing::Values(Case{"ref", 1}, Case{"cpu", 1}, Case{"cpu", 2}, Case{"cpu", 7}),
                         [](const auto& info) { return info.param.device + std::to_string(info.param.threads); });

TEST_P(WarmColdTest, EveryWayToEverySplitPointIsTheSameSession) {
  const std::vector<int32_t> ids = RandomIds(random_, 300);
  const auto later = Fed(ids);
  const auto stepped = NewSession(model_, Shape());
  const auto restored = NewSession(model_, Shape());
  for (int64_t split = 0; split <= 256; split += kThin) {
    const auto part = absl::MakeConstSpan(ids.data(), static_cast<size_t>(split));
    const auto cold = Fed(part);
    const std::string expected = Everything(*cold);
    while (stepped->length() < static_cast<uint64_t>(split)) {
      ASSERT_TRUE(stepped->Step(ids[stepped->length()]).ok());
    }
    ASSERT_EQ(Difference(Everything(*stepped), expected), "") << "stepped to " << split;

    const auto snapshot = cold->TakeSnapshot();
    ASSERT_TRUE(snapshot.ok());
    ASSERT_TRUE(restored->Restore(**snapshot).ok());
    ASSERT_EQ(Difference(Everything(*restored), expected), "") << "restored at " << split;

    const auto rewound = later->Fork();
    ASSERT_TRUE(rewound.ok());
    ASSERT_TRUE((*rewound)->Rewind(static_cast<uint64_t>(split)).ok());
    ASSERT_EQ(Difference(Everything(**rewound), expected), "") << "forked and rewound to " << split;

    std::vector<int32_t> wrong = ids;
    wrong.resize(static_cast<size_t>(split + random_.Int(0, 20)), 1);
    const auto synced = Fed(wrong);
    ASSERT_TRUE(synced->Sync(part).ok());
    ASSERT_EQ(Difference(Everything(*synced), expected), "") << "synced to " << split;

    ASSERT_TRUE(cold->Save(fs_, kPath, {Durability::kNone, true, true, {}}).ok());
    ASSERT_EQ(Difference(Everything(*Loaded(split % 2 == 0)), expected), "") << "loaded at " << split;

    ASSERT_TRUE(cold->Hibernate(fs_, "/bed").ok());
    ASSERT_EQ(Difference(Everything(*cold), expected), "") << "slept at " << split;
  }
}

// Replies drawn from all of them are one reply: greedy, and sampled with a seed.
TEST_P(WarmColdTest, RepliesAreTheSame) {
  const std::vector<int32_t> ids = RandomIds(random_, 140);
  for (const float temperature : {0.0f, 1.0f}) {
    for (int i = 0; i < 12; ++i) {
      const int64_t split = random_.Int(1, 139);
      GenerationParams params;
      params.sampling.temperature = temperature;
      params.sampling.seed = static_cast<uint64_t>(i);
      params.sampling.repeat_penalty = 1.2f;
      params.use_model_stops = false;
      params.max_tokens = 40;
      const auto reply = [&](Session& session) {
        std::vector<int32_t> said;
        auto generation = Generation::Begin(session, params);
        EXPECT_TRUE(generation.ok()) << generation.status();
        for (int n = 0; n < 40; ++n) {
          const auto event = (*generation)->Next();
          EXPECT_TRUE(event.ok()) << event.status();
          said.push_back(event->id);
        }
        return said;
      };
      const auto cold = Fed(absl::MakeConstSpan(ids.data(), static_cast<size_t>(split)));
      ASSERT_TRUE(cold->Save(fs_, kPath, {Durability::kNone, true, true, {}}).ok());
      const auto loaded = Loaded(false);
      const auto rewound = Fed(ids);
      ASSERT_TRUE(rewound->Rewind(static_cast<uint64_t>(split)).ok());
      const auto fork = cold->Fork();
      ASSERT_TRUE(fork.ok());
      const std::vector<int32_t> expected = reply(*cold);
      EXPECT_EQ(reply(*loaded), expected);
      EXPECT_EQ(reply(*rewound), expected);
      EXPECT_EQ(reply(**fork), expected);
      ASSERT_EQ(Difference(Everything(*rewound), Everything(*cold)), "");
    }
  }
}

}  // namespace
}  // namespace rill::test
