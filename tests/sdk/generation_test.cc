#include "sdk/generation.h"

#include <cmath>
#include <thread>

#include "model/tokenizer/utf8.h"
#include "tests/sdk/scripted_model.h"
#include "tests/sdk/session_case.h"

namespace rill::test {
namespace {

using Kind = GenerationEvent::Kind;

GenerationParams Greedy() {
  GenerationParams params;
  params.sampling.temperature = 0;
  return params;
}

std::unique_ptr<Generation> Begin(Session& session, const GenerationParams& params) {
  auto generation = Generation::Begin(session, params);
  EXPECT_TRUE(generation.ok()) << generation.status();
  return generation.ok() ? *std::move(generation) : nullptr;
}

struct Reply {
  std::vector<int32_t> ids;
  std::vector<std::string> texts;  // of each event, the end's last
  std::string text;
  FinishReason finish = FinishReason::kNone;
  int32_t end_id = -1;
};

void Collect(const GenerationEvent& event, Reply& reply) {
  reply.texts.emplace_back(event.text);
  reply.text += event.text;
  if (event.kind == Kind::kToken) {
    reply.ids.push_back(event.id);
  } else {
    reply.finish = event.finish;
    reply.end_id = event.id;
  }
}

// Pulls until the end and checks what holds of every reply.
Reply Pull(Session& session, Generation& generation) {
  Reply reply;
  const uint64_t start = session.length();
  while (reply.finish == FinishReason::kNone) {
    auto event = generation.Next();
    EXPECT_TRUE(event.ok()) << event.status();
    if (!event.ok()) break;
    Collect(*event, reply);
    EXPECT_EQ(event->text.size(), ValidUtf8Bytes(event->text));
    const bool fed = event->kind == Kind::kToken;
    EXPECT_EQ(event->position, start + reply.ids.size() - (fed ? 1 : 0));
    EXPECT_EQ(session.length(), start + reply.ids.size());
  }
  const auto again = generation.Next();
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(again->kind, Kind::kEnd);
  EXPECT_EQ(again->finish, reply.finish);
  EXPECT_EQ(again->id, reply.end_id);
  EXPECT_EQ(again->text, "");
  std::vector<int32_t> fed(reply.ids.size());
  EXPECT_EQ(*session.Tokens(start, absl::MakeSpan(fed)), fed.size());
  EXPECT_EQ(fed, reply.ids);
  return reply;
}

std::vector<int32_t> Bytes(const std::string& text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

// A session that has been fed the script's first token.
std::unique_ptr<Session> Prompted(std::shared_ptr<const Model> model,
                                  const std::vector<int32_t>& script, int64_t max_tokens = 256) {
  auto session = MakeSession(std::move(model), max_tokens);
  EXPECT_TRUE(session->Append({script[0]}).ok());
  return session;
}

Reply Say(const ScriptedModel& scripted, const std::vector<int32_t>& script,
          const GenerationParams& params, int64_t max_tokens = 256) {
  const auto session = Prompted(scripted.Open(script), script, max_tokens);
  const auto generation = Begin(*session, params);
  return Pull(*session, *generation);
}

TEST(GenerationTest, EndsBeforeTheModelsStopTokens) {
  const ScriptedModel scripted({"hello", " world"});
  for (const Control control : {Control::kImEnd, Control::kEos, Control::kEot}) {
    const std::vector<int32_t> script = {'x', scripted.merge(0), scripted.merge(1), '!',
                                         scripted.special(control)};
    const Reply reply = Say(scripted, script, Greedy());
    EXPECT_EQ(reply.text, "hello world!");
    EXPECT_EQ(reply.ids, std::vector<int32_t>(script.begin() + 1, script.end() - 1));
    EXPECT_EQ(reply.finish, FinishReason::kStopToken);
    EXPECT_EQ(reply.end_id, script.back());
  }
}

TEST(GenerationTest, StopsAtTheCallersTokensAndOnRequestNotAtTheModels) {
  const ScriptedModel scripted({"hello"});
  const int32_t end = scripted.special(Control::kImEnd);
  const std::vector<int32_t> script = {'x', scripted.merge(0), end, 'b', 'c'};
  GenerationParams params = Greedy();
  params.use_model_stops = false;
  params.stop_tokens = {'c', 'q'};
  const Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.text, "hellob");  // special tokens have no text
  EXPECT_EQ(reply.ids, (std::vector<int32_t>{scripted.merge(0), end, 'b'}));
  EXPECT_EQ(reply.end_id, 'c');
}

TEST(GenerationTest, GivesWholeCharactersOfTokensThatAreNot) {
  const ScriptedModel scripted({"\xE6\x97", "\xA5!"});  // 日 is E6 97 A5
  const std::vector<int32_t> script = {
      'x', scripted.merge(0), scripted.merge(1), 0xF0, 0x9F, 0x98, 0x80, 'z', 0xC3};
  GenerationParams params = Greedy();
  params.max_tokens = 8;
  const Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.texts,
            (std::vector<std::string>{"", "日!", "", "", "", "😀", "z", "", "\xEF\xBF\xBD"}));
  EXPECT_EQ(reply.finish, FinishReason::kMaxTokens);
}

TEST(GenerationTest, CutsAtStopStringsAcrossTokens) {
  const ScriptedModel scripted({"end", "of"});
  std::vector<int32_t> script = {'x', 'a', scripted.merge(1), ' ', scripted.merge(0), '.', 'Q'};
  GenerationParams params = Greedy();
  params.stop_strings = {"never", "f end."};
  const Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.text, "ao");
  EXPECT_EQ(reply.finish, FinishReason::kStopString);
  EXPECT_EQ(reply.ids.back(), '.');  // the token that completes the match is fed
  EXPECT_EQ(reply.ids.size(), 5u);

  params.stop_strings = {"f e"};  // inside a token
  EXPECT_EQ(Say(scripted, script, params).text, "ao");
}

TEST(GenerationTest, CutsAtAStopStringWhoseCharactersComeInPieces) {
  const ScriptedModel scripted({"\xE6\x97"});
  const std::vector<int32_t> script = {'x', 'a', scripted.merge(0), 0xA5, 'b', 'c'};
  GenerationParams params = Greedy();
  params.stop_strings = {"日b"};
  const Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.texts, (std::vector<std::string>{"a", "", "", "", ""}));
  EXPECT_EQ(reply.finish, FinishReason::kStopString);
}

TEST(GenerationTest, ShowsWhatWasHeldBackWhenTheReplyEnds) {
  const ScriptedModel scripted({"hello"});
  const std::vector<int32_t> script = {'x', 'a', 'b', 'c', scripted.special(Control::kImEnd)};
  GenerationParams params = Greedy();
  params.stop_strings = {"bcd"};
  const Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.texts, (std::vector<std::string>{"a", "", "", "bc"}));
  EXPECT_EQ(reply.finish, FinishReason::kStopToken);

  params.stop_strings = {"abcd", "bc"};  // only the end decides that "abcd" does not come
  const Reply cut = Say(scripted, script, params);
  EXPECT_EQ(cut.text, "a");
  EXPECT_EQ(cut.finish, FinishReason::kStopString);
}

TEST(GenerationTest, EndsAtMaxTokensAndAtTheContextsEnd) {
  const ScriptedModel scripted({"hello"});
  const std::vector<int32_t> script = Bytes("xabcdefghij");
  GenerationParams params = Greedy();
  params.max_tokens = 4;
  Reply reply = Say(scripted, script, params);
  EXPECT_EQ(reply.text, "abcd");
  EXPECT_EQ(reply.finish, FinishReason::kMaxTokens);
  params.max_tokens = 0;
  reply = Say(scripted, script, params);
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.finish, FinishReason::kMaxTokens);
  reply = Say(scripted, script, Greedy(), 7);
  EXPECT_EQ(reply.text, "abcdef");
  EXPECT_EQ(reply.finish, FinishReason::kContextFull);
}

TEST(GenerationTest, AnotherMayFollowButNotStandBeside) {
  const ScriptedModel scripted({"hello"});
  const std::vector<int32_t> script = Bytes("xabcdef");
  const auto session = Prompted(scripted.Open(script), script);
  GenerationParams params = Greedy();
  params.max_tokens = 2;
  auto first = Begin(*session, params);
  EXPECT_EQ(Generation::Begin(*session, params).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Pull(*session, *first).text, "ab");
  first.reset();
  const auto second = Begin(*session, params);
  EXPECT_EQ(Pull(*session, *second).text, "cd");
}

TEST(GenerationTest, RefusesWhatItCannotDoByName) {
  const auto plain = MakeSession(MakeModel("cpu", 5));
  EXPECT_EQ(Generation::Begin(*plain, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(plain->Append({1, 2, 3}).ok());
  const auto refused = [&](const char* name, auto spoil) {
    GenerationParams params;
    spoil(params);
    const absl::Status status = Generation::Begin(*plain, params).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message().find(name), 0u) << status;
  };
  refused("stop_tokens: id 97", [](GenerationParams& p) { p.stop_tokens = {5, 97}; });
  refused("stop_tokens: id -1", [](GenerationParams& p) { p.stop_tokens = {-1}; });
  refused("top_logprobs: 21", [](GenerationParams& p) { p.top_logprobs = 21; });
  refused("stop_strings: 1", [](GenerationParams& p) { p.stop_strings = {"a"}; });
  refused("temperature", [](GenerationParams& p) { p.sampling.temperature = -1; });
  const ScriptedModel scripted({"hello"});
  const auto session = Prompted(scripted.Open({'x', 'a'}), {'x'});
  GenerationParams params;
  params.stop_strings = {""};
  EXPECT_EQ(Generation::Begin(*session, params).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Begin(*session, {}), nullptr);  // a refused one is not open
}

TEST(GenerationTest, SaysTheSameForTheSameSeedOnly) {
  Random random;
  const auto model = MakeModel("cpu", 5, "q8");
  const std::vector<int32_t> prompt = RandomIds(random, 20);
  const auto reply = [&](float temperature, uint64_t seed) {
    const auto session = MakeSession(model);
    EXPECT_TRUE(session->Append(prompt).ok());
    GenerationParams params;
    params.use_model_stops = false;
    params.sampling.temperature = temperature;
    params.sampling.seed = seed;
    params.max_tokens = 40;
    return Pull(*session, *Begin(*session, params)).ids;
  };
  EXPECT_EQ(reply(0, 1), reply(0, 2));
  const auto first = reply(1, 1);
  EXPECT_EQ(first.size(), 40u);
  EXPECT_EQ(first, reply(1, 1));
  EXPECT_NE(first, reply(1, 2));
}

TEST(GenerationTest, IsSampleAndStepByHand) {
  Random random;
  const auto model = MakeModel("cpu", 6);
  const std::vector<int32_t> prompt = RandomIds(random, 20);
  const auto session = MakeSession(model), by_hand = MakeSession(model);
  ASSERT_TRUE(session->Append(prompt).ok() && by_hand->Append(prompt).ok());
  GenerationParams params;
  params.use_model_stops = false;
  params.sampling.repeat_penalty = 1.3f;
  params.sampling.top_p = 0.9f;
  params.top_logprobs = 5;
  const auto generation = Begin(*session, params);
  for (int i = 0; i < 30; ++i) {
    std::vector<int32_t> top_ids(5);
    std::vector<float> top(5);
    const auto sampled =
        by_hand->Sample(params.sampling, absl::MakeSpan(top_ids), absl::MakeSpan(top));
    ASSERT_TRUE(sampled.ok() && by_hand->Step(sampled->id).ok());
    const auto event = generation->Next();
    ASSERT_TRUE(event.ok());
    ASSERT_EQ(event->id, sampled->id);
    ASSERT_EQ(event->logprob, sampled->logprob);
    ASSERT_EQ(event->top.size(), 5u);
    for (size_t k = 0; k < 5; ++k) {
      ASSERT_EQ(event->top[k].id, top_ids[k]);
      ASSERT_EQ(event->top[k].logprob, top[k]);
    }
  }
  EXPECT_TRUE(SameBits(LogitsOf(*session), LogitsOf(*by_hand)));
}

TEST(GenerationTest, WithoutATokenizerStopsAtTheConfigsEos) {
  const auto model = MakeModel("cpu", 6);
  const auto session = MakeSession(model);
  ASSERT_TRUE(session->Append({5}).ok());
  GenerationParams params = Greedy();
  params.sampling.bias = {{model->config().eos_token, 1e5f}};
  Reply reply = Pull(*session, *Begin(*session, params));
  EXPECT_EQ(reply.finish, FinishReason::kStopToken);
  EXPECT_EQ(reply.end_id, model->config().eos_token);
  EXPECT_TRUE(reply.ids.empty());
}

TEST(GenerationTest, CancelledBetweenCallsEndsTheNextAndLosesNothing) {
  const ScriptedModel scripted({"hello"});
  const std::vector<int32_t> script = Bytes("xabcdefghij");
  const auto session = Prompted(scripted.Open(script), script);
  GenerationParams params = Greedy();
  params.max_tokens = 9;
  auto generation = Begin(*session, params);
  Reply reply;
  int n_cancelled = 0;
  for (int call = 0; reply.finish == FinishReason::kNone; ++call) {
    if (call % 3 == 0) std::thread([&] { session->Cancel(); }).join();
    ASSERT_EQ(TokensOf(*session).size(), session->length());  // does not take the cancellation
    const uint64_t length = session->length();
    const auto event = generation->Next();
    if (event.ok()) {
      Collect(*event, reply);
      continue;
    }
    ASSERT_EQ(event.status().code(), absl::StatusCode::kCancelled);
    ASSERT_LE(session->length(), length + 1);
    ++n_cancelled;
  }
  EXPECT_EQ(reply.text, "abcdefghi");
  EXPECT_GE(n_cancelled, 4);
  EXPECT_EQ(session->stats().cancelled_calls, static_cast<uint64_t>(n_cancelled));
  session->Cancel();  // nobody asks for more
  generation.reset();
  EXPECT_TRUE(session->Step('q').ok());
}

}  // namespace
}  // namespace rill::test
