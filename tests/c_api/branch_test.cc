// Snapshots, forks and replies that go on in both, through the public interface.
#include <memory>

#include "gtest/gtest.h"
#include "tests/c_api/session_case.h"

namespace rill::test {
namespace {

class BranchTest : public ::testing::Test {
 protected:
  Random random_;
  const Model model_{TinyModelPath()};
};

TEST_F(BranchTest, ASnapshotIsRestoredAgainAndAgain) {
  Session session(model_, SmallSession());
  session.append(random_.Ids(100));
  const Snapshot snapshot = session.snapshot();
  EXPECT_EQ(snapshot.length(), 100u);
  EXPECT_GT(snapshot.bytes(), 0u);
  const auto logits = session.logits();
  const Reply reply = Finish(session.generate(ReplyOf(16, 3)));
  for (int i = 0; i < 3; ++i) {
    session.append(random_.Ids(1 + random_.Below(50)));
    session.restore(snapshot);
    EXPECT_EQ(session.length(), 100u);
    EXPECT_EQ(session.logits(), logits);
    EXPECT_EQ(Finish(session.generate(ReplyOf(16, 3))), reply);
  }
}

TEST_F(BranchTest, ASnapshotOutlivesItsSessionAndFitsAnother) {
  const auto ids = random_.Ids(77);
  auto session = std::make_unique<Session>(model_, SmallSession());
  session->append(ids);
  const auto logits = session->logits();
  const Snapshot snapshot = session->snapshot();
  session.reset();
  Session other(model_, SmallSession(200, 32));
  other.append(random_.Ids(50));
  other.restore(snapshot);
  EXPECT_EQ(other.tokens(), ids);
  EXPECT_EQ(other.logits(), logits);
  other.append(random_.Ids(20));
  other.rewind(60);
  EXPECT_EQ(other.length(), 60u) << "to where it was never itself";
}

TEST_F(BranchTest, ASnapshotThatDoesNotFitIsRefused) {
  Session session(model_, SmallSession());
  session.append(random_.Ids(60));
  const Snapshot snapshot = session.snapshot();
  auto wide = SmallSession();
  wide.mla_dtype = RILL_MLA_F32;
  const Model again(TinyModelPath());
  Session too_short(model_, SmallSession(59)), other_rows(model_, wide),
      other_model(again, SmallSession());
  for (Session* s : {&too_short, &other_rows, &other_model}) s->append({1, 2, 3});
  EXPECT_EQ(CodeOf([&] { too_short.restore(snapshot); }), RILL_E_CONTEXT_FULL);
  EXPECT_NE(LastError().find("60"), std::string::npos) << LastError();
  EXPECT_EQ(CodeOf([&] { other_rows.restore(snapshot); }), RILL_E_MISMATCH);
  EXPECT_NE(LastError().find("f32"), std::string::npos) << LastError();
  EXPECT_EQ(CodeOf([&] { other_model.restore(snapshot); }), RILL_E_MISMATCH);
  for (Session* s : {&too_short, &other_rows, &other_model}) EXPECT_EQ(s->length(), 3u);
  auto generation = session.generate();
  EXPECT_EQ(CodeOf([&] { session.restore(snapshot); }), RILL_E_STATE);
}

TEST_F(BranchTest, AnEmptySessionHasASnapshotToo) {
  Session session(model_, SmallSession());
  const Snapshot nothing = session.snapshot();
  EXPECT_EQ(nothing.length(), 0u);
  session.append(random_.Ids(10));
  session.restore(nothing);
  EXPECT_EQ(session.length(), 0u);
  EXPECT_EQ(CodeOf([&] { session.logits(); }), RILL_E_STATE);
}

TEST_F(BranchTest, ForksGoTheirOwnWays) {
  const auto ids = random_.Ids(140), left = random_.Ids(40), right = random_.Ids(55);
  auto trunk = std::make_unique<Session>(model_, SmallSession());
  trunk->append(ids);
  Session fork = trunk->fork(), second = fork.fork();
  EXPECT_EQ(fork.tokens(), ids);
  EXPECT_EQ(fork.logits(), trunk->logits());
  trunk->append(left);
  fork.append(right);
  const auto expect = [&](Session& session, const std::vector<int32_t>& more) {
    Session straight(model_, SmallSession());
    auto all = ids;
    all.insert(all.end(), more.begin(), more.end());
    straight.append(ids);
    straight.append(more);
    EXPECT_EQ(session.tokens(), all);
    EXPECT_EQ(session.logits(), straight.logits());
  };
  expect(*trunk, left);
  expect(fork, right);
  trunk.reset();
  fork.rewind(100);
  EXPECT_EQ(second.tokens(), ids);
  expect(second, {});
  EXPECT_EQ(second.stats().planned_bytes, fork.stats().planned_bytes);
}

// The state of a reply that a fork has to carry: half a character, half a stop string, the count.
TEST_F(BranchTest, AReplyGoesOnInAForkInsideACharacter) {
  // Every token is the first byte of a character of three: each makes U+FFFD of the one before.
  const rill_token_bias only[] = {{0xe2, 1000.0f}};
  const rill_str stop[] = {{"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 9}};
  auto params = ReplyOf(10, 1, 0);
  params.bias = only;
  params.n_bias = 1;
  for (const bool with_stop : {false, true}) {
    params.stop_strings = stop;
    params.n_stop_strings = with_stop ? 1 : 0;
    for (int split = 1; split < 4; ++split) {
      Session session(model_, SmallSession());
      session.append(random_.Ids(20));
      Generation generation = session.generate(params);
      Reply said;
      for (int i = 0; i < split; ++i) {
        const Event event = generation.next();
        ASSERT_FALSE(event.is_end);
        ASSERT_EQ(event.id, 0xe2);
        said.text += event.text;
        said.ids.push_back(event.id);
      }
      Session fork = session.fork();
      const Snapshot snapshot = session.snapshot();
      const Reply whole = Finish(std::move(generation), said);
      EXPECT_EQ(whole.finish, with_stop ? RILL_FINISH_STOP_STRING : RILL_FINISH_MAX_TOKENS);
      EXPECT_EQ(whole.text.size(), with_stop ? 0u : 30u) << "nothing of the stop string is text";
      EXPECT_EQ(Finish(fork.resume(), said), whole) << split;
      EXPECT_EQ(fork.tokens(), session.tokens());
      Session restored(model_, SmallSession());
      restored.restore(snapshot);
      EXPECT_EQ(Finish(restored.resume(), said), whole) << split;
    }
  }
}

TEST_F(BranchTest, OnlyAReplyThatWasOpenAndHasNotMovedIsResumed) {
  Session session(model_, SmallSession());
  EXPECT_EQ(CodeOf([&] { session.resume(); }), RILL_E_STATE);
  session.append(random_.Ids(9));
  EXPECT_EQ(CodeOf([&] { session.resume(); }), RILL_E_STATE) << "none was open";
  Session plain = session.fork();
  EXPECT_EQ(CodeOf([&] { plain.resume(); }), RILL_E_STATE);
  Generation generation = session.generate(ReplyOf(8, 2));
  generation.next();
  EXPECT_EQ(CodeOf([&] { session.resume(); }), RILL_E_STATE) << "it is open here";
  Session moved = session.fork(), stays = session.fork();
  moved.step(4);
  EXPECT_EQ(CodeOf([&] { moved.resume(); }), RILL_E_STATE);
  Generation twice = stays.resume();
  EXPECT_EQ(CodeOf([&] { stays.resume(); }), RILL_E_STATE);
  EXPECT_EQ(CodeOf([&] { stays.step(1); }), RILL_E_STATE);
  EXPECT_EQ(Finish(std::move(twice)), Finish(std::move(generation)));
}

}  // namespace
}  // namespace rill::test
