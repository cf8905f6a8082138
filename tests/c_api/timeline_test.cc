// Back along the timeline, through the public interface: what a rewind gives, says and refuses.
#include <numeric>

#include "gtest/gtest.h"
#include "tests/c_api/session_case.h"

namespace rill::test {
namespace {

class TimelineTest : public ::testing::Test {
 protected:
  Random random_;
  const Model model_{TinyModelPath()};
};

TEST_F(TimelineTest, ARewoundSessionRepeatsItself) {
  Session session(model_, SmallSession());
  const auto ids = random_.Ids(150);
  session.append(ids);
  const auto params = ReplyOf(20, 7);
  const Reply first = Finish(session.generate(params));
  const auto logits = session.logits();
  ASSERT_EQ(first.ids.size(), 20u);
  for (int i = 0; i < 3; ++i) {
    session.rewind(150);
    EXPECT_EQ(session.length(), 150u);
    EXPECT_EQ(session.tokens(), ids);
    EXPECT_EQ(Finish(session.generate(params)), first);
    EXPECT_EQ(session.logits(), logits);
  }
}

TEST_F(TimelineTest, AnyPositionIsThatOfASessionThatNeverWentFurther) {
  const auto ids = random_.Ids(200);
  Session session(model_, SmallSession());
  session.append(ids);
  for (size_t to = 199; to > 25; to -= 1 + random_.Below(25)) {
    const rill_rewind_cost cost = session.rewind_cost(to), paid = session.rewind(to);
    EXPECT_EQ(paid.anchor + paid.replayed + paid.recomputed, to);
    EXPECT_EQ(paid.anchor, cost.anchor);
    EXPECT_EQ(paid.recomputed, cost.recomputed);
    Session straight(model_, SmallSession());
    straight.append({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(to)});
    EXPECT_EQ(session.logits(), straight.logits()) << "at " << to;
  }
  EXPECT_EQ(session.rewind(0).recomputed, 0u);
  EXPECT_EQ(session.length(), 0u);
}

TEST_F(TimelineTest, CheapMeansOneTokenAtMostAndTheNumbersComeAnyway) {
  Session session(model_, SmallSession());
  const auto ids = random_.Ids(300);
  session.append(ids);
  for (const int32_t id : random_.Ids(40)) session.step(id);
  EXPECT_LE(session.rewind(330, RILL_REWIND_ONLY_CHEAP).recomputed, 1u) << "inside the window";
  const auto checkpoints = session.checkpoints();
  // The middle of the widest gap between checkpoints.
  uint64_t far = 0, widest = 0, below = 0;
  for (const uint64_t at : checkpoints) {
    if (at - below > widest) widest = at - below, far = below + widest / 2;
    below = at;
  }
  ASSERT_GT(widest, 4u);
  auto cost = params<rill_rewind_cost>();
  EXPECT_EQ(
      rill_session_rewind(session.get(), far, RILL_REWIND_ONLY_CHEAP, nullptr, nullptr, &cost),
      RILL_E_BUDGET);
  EXPECT_GT(cost.recomputed, 1u);
  EXPECT_EQ(cost.recomputed, session.rewind_cost(far).recomputed);
  EXPECT_NE(LastError().find(std::to_string(cost.recomputed)), std::string::npos) << LastError();
  EXPECT_EQ(session.length(), 330u);
  EXPECT_EQ(session.rewind(far).recomputed, cost.recomputed);
  EXPECT_EQ(session.length(), far);
}

TEST_F(TimelineTest, NoWindowCostsTimeAndNoBits) {
  auto params = SmallSession();
  params.rewind_window = RILL_NO_REWIND_WINDOW;
  Session with(model_, SmallSession()), without(model_, params);
  const auto ids = random_.Ids(120);
  for (Session* session : {&with, &without}) {
    session->append(ids);
    for (const int32_t id : std::vector<int32_t>(ids.begin(), ids.begin() + 5)) session->step(id);
  }
  EXPECT_EQ(with.rewind(123).recomputed, 1u);
  const auto paid = without.rewind(123);
  EXPECT_EQ(paid.replayed, 0u);
  EXPECT_EQ(with.logits(), without.logits());
}

TEST_F(TimelineTest, AMarkIsKeptUntilItIsTakenAway) {
  Session session(model_, SmallSession());
  EXPECT_EQ(CodeOf([&] { session.mark(1); }), RILL_E_STATE) << "nothing was fed yet";
  session.append(random_.Ids(37));
  session.mark(5);
  const auto logits = session.logits();
  for (int i = 0; i < 20; ++i) session.append(random_.Ids(19));
  auto cost = session.rewind_cost(37);
  EXPECT_EQ(cost.anchor, 37u);
  EXPECT_EQ(cost.recomputed, 0u);
  const auto positions = session.checkpoints();
  EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
  EXPECT_NE(std::find(positions.begin(), positions.end(), 37u), positions.end());
  session.unmark(5);
  session.unmark(99);
  session.rewind(37, RILL_REWIND_ONLY_CHEAP);
  EXPECT_EQ(session.logits(), logits);

  int marks = 0;
  rill_status status = RILL_OK;
  for (; status == RILL_OK && marks < 100; ++marks) {
    session.step(1);
    status = rill_session_mark(session.get(), 7);
  }
  EXPECT_EQ(status, RILL_E_BUDGET) << "a ladder that holds only marks cannot grow";
  EXPECT_GT(marks, 2);
  session.unmark(7);
  session.mark(8);
  session.reset();
  EXPECT_TRUE(session.checkpoints().empty());
}

TEST_F(TimelineTest, SyncKeepsWhatIsInCommonAndSaysSo) {
  Session session(model_, SmallSession());
  auto ids = random_.Ids(90);
  const auto check = [&](const std::vector<int32_t>& all, int32_t reason, uint64_t common) {
    const uint64_t before = session.length();
    uint64_t last = 0, total = 0;
    const auto report = session.sync(all, [&](uint64_t done, uint64_t of) {
      EXPECT_GE(done, last);
      last = done, total = of;
      return false;
    });
    EXPECT_EQ(report.reason, reason);
    EXPECT_EQ(report.common, common);
    EXPECT_EQ(report.common + report.appended, all.size());
    EXPECT_EQ(report.anchor + report.replayed + report.recomputed, report.common);
    EXPECT_EQ(last, total);
    if (total > 0) {
      EXPECT_EQ(total, report.recomputed + report.appended);
    }
    EXPECT_LE(report.common, before);
    EXPECT_EQ(session.tokens(), all);
    if (all.empty()) return;
    Session straight(model_, SmallSession());
    straight.append(all);
    EXPECT_EQ(session.logits(), straight.logits());
  };
  check(ids, RILL_SYNC_EXTENDED, 0);
  check(ids, RILL_SYNC_SAME, 90);
  const auto more = random_.Ids(30);
  ids.insert(ids.end(), more.begin(), more.end());
  check(ids, RILL_SYNC_EXTENDED, 90);
  ids.resize(70);
  ids.push_back(ids[0] == 9 ? 10 : 9);
  const size_t common = ids[70] == session.tokens(70).at(0) ? 71 : 70;
  check(ids, RILL_SYNC_REWOUND, common);
  ids.resize(25);
  check(ids, RILL_SYNC_REWOUND, 25);
  ids[0] = ids[0] == 3 ? 4 : 3;
  check(ids, RILL_SYNC_REBUILT, 0);
  check({}, RILL_SYNC_REBUILT, 0);
  check({}, RILL_SYNC_SAME, 0);
}

TEST_F(TimelineTest, ASyncThatCannotBeChangesNothing) {
  Session session(model_, SmallSession(60));
  const auto ids = random_.Ids(40);
  session.append(ids);
  auto bad = ids;
  bad[10] = 1 - bad[10];
  bad[20] = kVocab;
  auto report = params<rill_sync_report>();
  report.common = 77;
  EXPECT_EQ(rill_session_sync(session.get(), bad.data(), bad.size(), nullptr, nullptr, &report),
            RILL_E_ARG);
  EXPECT_EQ(report.common, 0u) << "outputs of a failure are zero";
  EXPECT_EQ(CodeOf([&] { session.sync(std::vector<int32_t>(61, 1)); }), RILL_E_CONTEXT_FULL);
  EXPECT_EQ(session.tokens(), ids);
}

TEST_F(TimelineTest, CancelledOnTheWayBackItIsWhereItWas) {
  auto params = SmallSession(600, 8);
  params.rewind_window = RILL_NO_REWIND_WINDOW;
  Session session(model_, params);
  session.append(random_.Ids(500));
  const auto logits = session.logits();
  const auto tokens = session.tokens();
  uint64_t far = 0, dearest = 0;
  for (uint64_t to = 1; to < 500; ++to) {
    const uint64_t recomputed = session.rewind_cost(to).recomputed;
    if (recomputed > dearest) dearest = recomputed, far = to;
  }
  ASSERT_GT(dearest, 8u);
  EXPECT_EQ(CodeOf([&] { session.rewind(far, 0, [](uint64_t, uint64_t) { return true; }); }),
            RILL_E_CANCELLED);
  EXPECT_EQ(session.tokens(), tokens);
  EXPECT_EQ(session.logits(), logits);
  auto other = tokens;
  other.resize(far);
  other.resize(far + 30, 2);
  EXPECT_EQ(CodeOf([&] {
              session.sync(other, [&](uint64_t done, uint64_t total) {
                EXPECT_LE(done, total);
                return done > dearest;
              });
            }),
            RILL_E_CANCELLED);
  const auto held = session.tokens();
  EXPECT_GE(held.size(), far);
  EXPECT_TRUE(std::equal(held.begin(), held.end(), other.begin())) << "a beginning of the new ones";
  session.sync(other);
  EXPECT_EQ(session.tokens(), other);
}

}  // namespace
}  // namespace rill::test
