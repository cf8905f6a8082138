// The whole interface from open to close, on a model file of its own.
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rill/rill.h"
#include "rill/rill.hpp"
#include "tests/c_api/model_file.h"

namespace rill::test {
namespace {

std::vector<int32_t> RandomIds(size_t n) {
  static std::mt19937_64 random(std::random_device{}());
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % kBaseTokens);
  return ids;
}

rill_gen_params Limited(uint64_t max_tokens) {
  rill_gen_params params;
  RILL_INIT(params);
  params.max_tokens = max_tokens;
  params.ignore_model_stops = 1;
  return params;
}

TEST(ApiTest, VersionsAndNames) {
  EXPECT_EQ(rill_version(), 0u << 16 | 1u << 8 | 0u);
  EXPECT_EQ(rill_abi_version(), static_cast<uint32_t>(RILL_ABI_VERSION));
  EXPECT_STREQ(rill_status_name(RILL_E_CLOSED), "RILL_E_CLOSED");
  EXPECT_STREQ(rill_status_name(-7), "unknown status");
}

TEST(ApiTest, ModelSaysWhatItIs) {
  const Opened open;
  rill_model_info info;
  RILL_INIT(info);
  ASSERT_EQ(rill_model_get_info(open.model, &info), RILL_OK);
  EXPECT_EQ(info.vocab_size, kVocab);
  EXPECT_EQ(info.hidden_size, 32);
  EXPECT_EQ(info.n_layers, 4);
  EXPECT_EQ(info.n_kda_layers, 3);
  EXPECT_EQ(info.n_mla_layers, 1);
  EXPECT_EQ(info.has_tokenizer, 1);
  EXPECT_EQ(info.n_stop_ids, 3);
  EXPECT_STREQ(info.recipe, "q8");
  EXPECT_STREQ(info.device, "cpu");
  EXPECT_GT(info.weight_bytes, 0u);
  rill_fingerprint one, two;
  RILL_INIT(one);
  RILL_INIT(two);
  const Opened again;
  ASSERT_EQ(rill_model_fingerprint(open.model, &one), RILL_OK);
  ASSERT_EQ(rill_model_fingerprint(again.model, &two), RILL_OK);
  EXPECT_EQ(std::memcmp(&one, &two, sizeof one), 0);
  const Opened other(TinyModelWithoutTokenizerPath());
  ASSERT_EQ(rill_model_fingerprint(other.model, &two), RILL_OK);
  EXPECT_NE(std::memcmp(one.weights, two.weights, 32), 0);
  EXPECT_NE(std::memcmp(one.tokenizer, two.tokenizer, 32), 0);
}

TEST(ApiTest, PlanIsWhatTheSessionTakes) {
  const std::string& path = TinyModelPath();
  rill_plan_params params;
  RILL_INIT(params);
  params.max_tokens = 512;
  params.prefill_chunk = 16;
  params.sessions = 3;
  rill_plan plan;
  RILL_INIT(plan);
  ASSERT_EQ(rill_plan_compute(path.data(), path.size(), &params, &plan), RILL_OK) << LastError();
  const Opened open;
  rill_stats stats;
  RILL_INIT(stats);
  ASSERT_EQ(rill_session_get_stats(open.session, &stats), RILL_OK);
  EXPECT_EQ(plan.session_total, stats.planned_bytes);
  EXPECT_EQ(plan.session_total, plan.state + plan.shadow + plan.cache + plan.workspace +
                                    plan.logits + plan.ledger + plan.ring + plan.ladder);
  EXPECT_EQ(plan.total_host, plan.weights + 3 * plan.session_total);
  EXPECT_EQ(plan.total_device, 0u);
  EXPECT_EQ(plan.fits, 1);
  rill_model_info info;
  RILL_INIT(info);
  ASSERT_EQ(rill_model_get_info(open.model, &info), RILL_OK);
  EXPECT_GE(plan.weights, info.device_weight_bytes);

  params.host_budget = plan.total_host;
  ASSERT_EQ(rill_plan_compute(path.data(), path.size(), &params, &plan), RILL_OK);
  EXPECT_EQ(plan.fits, 1);
  params.host_budget -= 1;
  ASSERT_EQ(rill_plan_compute(path.data(), path.size(), &params, &plan), RILL_OK);
  EXPECT_EQ(plan.fits, 0);
  params.device = "cuda:0";
  params.device_len = 6;
  params.device_budget = plan.total_host - 1;
  ASSERT_EQ(rill_plan_compute(path.data(), path.size(), &params, &plan), RILL_OK);
  EXPECT_EQ(plan.total_host, 0u);
  EXPECT_EQ(plan.fits, 0);
}

TEST(ApiTest, TheWayBackIsInThePlan) {
  const std::string& path = TinyModelPath();
  const auto compute = [&](int32_t window, uint32_t slots) {
    rill_plan_params params;
    RILL_INIT(params);
    params.rewind_window = window;
    params.ladder_slots = slots;
    rill_plan plan;
    RILL_INIT(plan);
    EXPECT_EQ(rill_plan_compute(path.data(), path.size(), &params, &plan), RILL_OK) << LastError();
    return plan;
  };
  EXPECT_EQ(compute(0, 0).ring, compute(64, 12).ring);
  EXPECT_EQ(compute(0, 0).ladder, compute(64, 12).ladder);
  EXPECT_GT(compute(128, 0).ring, compute(0, 0).ring);
  EXPECT_EQ(compute(RILL_NO_REWIND_WINDOW, 0).ring, 0u);
  EXPECT_EQ(compute(0, 24).ladder, 2 * compute(0, 0).ladder);

  const Model model(path);
  auto params = rill::params<rill_session_params>();
  params.rewind_window = RILL_NO_REWIND_WINDOW;
  params.ladder_slots = 9;
  const Session session(model, params);
  EXPECT_EQ(session.stats().planned_bytes, compute(RILL_NO_REWIND_WINDOW, 9).session_total);
  EXPECT_EQ(session.stats().device_bytes, session.stats().planned_bytes);
}

TEST(ApiTest, LoadingReportsAndCanBeCancelled) {
  struct Seen {
    uint64_t last = 0, total = 0;
    int calls = 0, stop_at = 0;
  } seen;
  rill_model_params params;
  RILL_INIT(params);
  params.progress_ud = &seen;
  params.progress = [](void* ud, uint64_t done, uint64_t total) -> int32_t {
    auto* s = static_cast<Seen*>(ud);
    EXPECT_GE(done, s->last);
    s->last = done;
    s->total = total;
    return ++s->calls == s->stop_at;
  };
  const std::string& path = TinyModelPath();
  rill_model* model = nullptr;
  ASSERT_EQ(rill_model_open(path.data(), path.size(), &params, &model), RILL_OK) << LastError();
  EXPECT_EQ(seen.last, seen.total);
  EXPECT_GT(seen.total, 0u);
  EXPECT_EQ(rill_model_release(model), RILL_OK);
  seen = Seen{};
  seen.stop_at = 2;
  EXPECT_EQ(rill_model_open(path.data(), path.size(), &params, &model), RILL_E_CANCELLED);
  EXPECT_EQ(model, nullptr);
}

TEST(ApiTest, FileErrorsHaveTheirCodes) {
  const TempDir dir;
  rill_model* model = nullptr;
  const auto open = [&](const std::string& bytes) {
    WriteFile(dir / "x.rill", bytes);
    const std::string path = dir / "x.rill";
    return rill_model_open(path.data(), path.size(), nullptr, &model);
  };
  const std::string good = ReadFile(TinyModelPath());
  const std::string missing = dir / "missing";
  EXPECT_EQ(rill_model_open(missing.data(), missing.size(), nullptr, &model), RILL_E_IO);
  EXPECT_NE(LastError().find("missing"), std::string::npos) << LastError();
  EXPECT_EQ(open("no model at all"), RILL_E_ARG) << LastError();
  EXPECT_EQ(open(good.substr(0, good.size() - 1)), RILL_E_CORRUPT) << LastError();
  std::string flipped = good;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  EXPECT_EQ(open(flipped), RILL_E_CORRUPT) << LastError();
  EXPECT_EQ(open(good), RILL_OK) << LastError();
  rill_model_release(model);
}

TEST(ApiTest, TextGoesToTokensAndBack) {
  const Opened open;
  const std::string text = "the hello \xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a <|im_end|>";
  size_t count = 0;
  ASSERT_EQ(rill_tokenize(open.model, text.data(), text.size(), 0, nullptr, 0, &count), RILL_OK);
  std::vector<int32_t> ids(count);
  ASSERT_EQ(rill_tokenize(open.model, text.data(), text.size(), 0, ids.data(), count, &count),
            RILL_OK);
  for (const int32_t id : ids) EXPECT_LT(id, kBaseTokens);
  std::string pieces, streamed;
  rill_utf8 stream{};
  char buf[64];
  size_t n = 0;
  for (const int32_t id : ids) {
    ASSERT_EQ(rill_detok_piece(open.model, id, buf, sizeof buf, &n), RILL_OK);
    pieces.append(buf, n);
    ASSERT_EQ(rill_detok_push(open.model, &stream, id, buf, sizeof buf, &n), RILL_OK);
    streamed.append(buf, n);
    if (n > 0) {
      EXPECT_NE(static_cast<unsigned char>(buf[0]) & 0xC0, 0x80) << "half a character";
    }
  }
  EXPECT_EQ(pieces, text);
  EXPECT_EQ(streamed, text);
  EXPECT_EQ(stream.n, 0u);
  size_t special = 0;
  ASSERT_EQ(rill_tokenize(open.model, text.data(), text.size(), RILL_TOKENIZE_SPECIAL, nullptr, 0,
                          &special),
            RILL_OK);
  EXPECT_LT(special, count);
}

TEST(ApiTest, AnUnfinishedCharacterIsAskedForAndFlushed) {
  const Opened open;
  rill_utf8 stream{};
  char buf[8];
  size_t n = 7;
  ASSERT_EQ(rill_detok_push(open.model, &stream, 0xe2, buf, sizeof buf, &n), RILL_OK);
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(stream.n, 1u);
  ASSERT_EQ(rill_detok_push(open.model, &stream, 'x', nullptr, 0, &n), RILL_OK);
  EXPECT_EQ(n, 4u) << "U+FFFD and x";
  EXPECT_EQ(stream.n, 1u) << "asking does not advance";
  EXPECT_EQ(rill_detok_push(open.model, &stream, 'x', buf, 3, &n), RILL_E_ARG);
  EXPECT_EQ(n, 4u);
  EXPECT_EQ(stream.n, 1u);
  ASSERT_EQ(rill_detok_push(open.model, &stream, -1, buf, sizeof buf, &n), RILL_OK);
  EXPECT_EQ(std::string(buf, n), "\xef\xbf\xbd");
  EXPECT_EQ(stream.n, 0u);
}

TEST(ApiTest, ChatTurnsContinueWhatTheSessionHolds) {
  const Model model(TinyModelPath());
  const auto whole = model.chat(
      R"([{"role":"user","content":"hello"},{"role":"assistant","content":"the"},
          {"role":"user","content":"he"}])");
  auto grown = model.chat_after(-1, R"([{"role":"user","content":"hello"}])");
  for (const int32_t id : model.tokenize("the")) grown.push_back(id);
  for (const int32_t id : model.chat_after(grown.back(), R"([{"role":"user","content":"he"}])")) {
    grown.push_back(id);
  }
  EXPECT_EQ(grown, whole);
  EXPECT_LT(model.chat(R"([{"role":"user","content":"x"}])", {}, 0).size(),
            model.chat(R"([{"role":"user","content":"x"}])").size());
  EXPECT_GT(model.chat(R"([{"role":"user","content":"x"}])", R"([{"name":"f"}])").size(),
            model.chat(R"([{"role":"user","content":"x"}])").size());
}

TEST(ApiTest, AppendInPassesIsStepByStep) {
  const Opened at_once, one_by_one;
  const auto ids = RandomIds(37);
  struct Seen {
    uint64_t done = 0, total = 0;
  } seen;
  const auto progress = [](void* ud, uint64_t done, uint64_t total) -> int32_t {
    *static_cast<Seen*>(ud) = {done, total};
    return 0;
  };
  ASSERT_EQ(rill_session_append(at_once.session, ids.data(), ids.size(), progress, &seen), RILL_OK)
      << LastError();
  EXPECT_EQ(seen.done, 37u);
  EXPECT_EQ(seen.total, 37u);
  for (const int32_t id : ids) ASSERT_EQ(rill_session_step(one_by_one.session, id), RILL_OK);
  EXPECT_EQ(rill_session_length(at_once.session), 37u);
  std::vector<int32_t> back(40);
  size_t count = 0;
  ASSERT_EQ(rill_session_tokens(at_once.session, 5, back.data(), 10, &count), RILL_OK);
  EXPECT_EQ(count, 32u);
  EXPECT_TRUE(std::equal(ids.begin() + 5, ids.begin() + 15, back.begin()));
  const float *a = nullptr, *b = nullptr;
  size_t n = 0;
  ASSERT_EQ(rill_session_logits(at_once.session, &a, &n), RILL_OK);
  ASSERT_EQ(n, static_cast<size_t>(kVocab));
  ASSERT_EQ(rill_session_logits(one_by_one.session, &b, &n), RILL_OK);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < n; ++i) {
    largest = std::max<double>(largest, std::abs(b[i]));
    difference = std::max<double>(difference, std::abs(a[i] - b[i]));
  }
  EXPECT_GT(largest, 0.0);
  EXPECT_LT(difference, 0.05 * largest);
}

TEST(ApiTest, LogprobsAreTheLogSoftmax) {
  const Opened open;
  const auto ids = RandomIds(9);
  ASSERT_EQ(rill_session_append(open.session, ids.data(), ids.size(), nullptr, nullptr), RILL_OK);
  const float* logits = nullptr;
  size_t n = 0;
  ASSERT_EQ(rill_session_logits(open.session, &logits, &n), RILL_OK);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]));
  const int32_t asked[] = {0, kVocab - 1};
  float out[2];
  rill_token_prob top[5];
  ASSERT_EQ(rill_session_logprobs(open.session, asked, 2, out, top, 5), RILL_OK) << LastError();
  for (int i = 0; i < 2; ++i) EXPECT_NEAR(out[i], logits[asked[i]] - std::log(sum), 1e-4);
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(top[i].logprob, logits[top[i].id] - std::log(sum), 1e-4);
    if (i > 0) {
      EXPECT_LE(top[i].logprob, top[i - 1].logprob);
    }
  }
}

TEST(ApiTest, PullingAndLoopingGiveTheSameReply) {
  const Opened pulled, looped;
  const auto ids = RandomIds(8);
  rill_gen_params params = Limited(12);
  params.temperature = 1;
  params.seed = 7;
  params.top_logprobs = 3;
  std::vector<int32_t> one, two;
  std::string text_one, text_two;
  ASSERT_EQ(rill_session_append(pulled.session, ids.data(), 8, nullptr, nullptr), RILL_OK);
  rill_gen* gen = nullptr;
  ASSERT_EQ(rill_gen_begin(pulled.session, &params, &gen), RILL_OK) << LastError();
  rill_event event;
  RILL_INIT(event);
  for (event.kind = RILL_EVENT_TOKEN; event.kind != RILL_EVENT_END;) {
    ASSERT_EQ(rill_gen_next(gen, &event), RILL_OK) << LastError();
    EXPECT_EQ(event.struct_size, sizeof event);
    text_one.append(event.text, event.text_len);
    if (event.kind == RILL_EVENT_END) break;
    EXPECT_EQ(event.n_top, 3u);
    EXPECT_EQ(event.position, 8 + one.size());
    one.push_back(event.id);
  }
  EXPECT_EQ(event.finish, RILL_FINISH_MAX_TOKENS);
  ASSERT_EQ(rill_gen_next(gen, &event), RILL_OK);
  EXPECT_EQ(event.kind, RILL_EVENT_END) << "the end is said again";
  EXPECT_EQ(rill_gen_end(gen), RILL_OK);
  EXPECT_EQ(rill_session_length(pulled.session), 20u);

  struct Sink {
    std::vector<int32_t>* ids;
    std::string* text;
  } sink{&two, &text_two};
  const auto collect = [](void* ud, const rill_event* e) -> int32_t {
    auto* s = static_cast<Sink*>(ud);
    s->text->append(e->text, e->text_len);
    if (e->kind == RILL_EVENT_TOKEN) s->ids->push_back(e->id);
    return 0;
  };
  rill_gen_stats stats;
  RILL_INIT(stats);
  ASSERT_EQ(rill_session_append(looped.session, ids.data(), 8, nullptr, nullptr), RILL_OK);
  ASSERT_EQ(rill_generate(looped.session, &params, collect, &sink, &stats), RILL_OK);
  EXPECT_EQ(two, one);
  EXPECT_EQ(text_two, text_one);
  EXPECT_EQ(stats.tokens, 12u);
  EXPECT_EQ(stats.text_bytes, text_two.size());
  EXPECT_EQ(stats.finish, RILL_FINISH_MAX_TOKENS);
  EXPECT_GT(stats.elapsed_ns, 0);
}

TEST(ApiTest, CallbackEndsTheReplyAndTheTokensStay) {
  const Opened open;
  const auto ids = RandomIds(4);
  ASSERT_EQ(rill_session_append(open.session, ids.data(), 4, nullptr, nullptr), RILL_OK);
  rill_gen_stats stats;
  RILL_INIT(stats);
  int calls = 0;
  const rill_gen_params params = Limited(100);
  const auto third = [](void* ud, const rill_event*) -> int32_t {
    return ++*static_cast<int*>(ud) == 3;
  };
  EXPECT_EQ(rill_generate(open.session, &params, third, &calls, &stats), RILL_E_CANCELLED);
  EXPECT_EQ(stats.tokens, 3u);
  EXPECT_EQ(stats.finish, RILL_FINISH_NONE);
  EXPECT_EQ(rill_session_length(open.session), 7u);
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_OK) << "no generation is left open";
}

TEST(ApiTest, CancelledAppendKeepsWholePasses) {
  const Opened open;
  const auto ids = RandomIds(64);
  const auto stop = [](void*, uint64_t done, uint64_t) -> int32_t { return done >= 32; };
  EXPECT_EQ(rill_session_append(open.session, ids.data(), 64, stop, nullptr), RILL_E_CANCELLED);
  const uint64_t length = rill_session_length(open.session);
  EXPECT_EQ(length % 16, 0u);
  EXPECT_GE(length, 32u);
  EXPECT_LT(length, 64u);
  ASSERT_EQ(rill_session_append(open.session, ids.data() + length, 64 - length, nullptr, nullptr),
            RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 64u);
}

TEST(ApiTest, FullSessionSaysSoAndResets) {
  const Opened open(TinyModelPath(), 10, 4);
  const auto ids = RandomIds(11);
  EXPECT_EQ(rill_session_append(open.session, ids.data(), 11, nullptr, nullptr),
            RILL_E_CONTEXT_FULL);
  EXPECT_EQ(rill_session_length(open.session), 0u);
  ASSERT_EQ(rill_session_append(open.session, ids.data(), 10, nullptr, nullptr), RILL_OK);
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_E_CONTEXT_FULL);
  EXPECT_NE(LastError().find("10"), std::string::npos) << LastError();
  ASSERT_EQ(rill_session_reset(open.session), RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 0u);
  ASSERT_EQ(rill_session_append(open.session, ids.data(), 6, nullptr, nullptr), RILL_OK);
  rill_gen_stats stats;
  RILL_INIT(stats);
  const rill_gen_params params = Limited(0);
  ASSERT_EQ(rill_generate(open.session, &params, nullptr, nullptr, &stats), RILL_OK);
  EXPECT_EQ(stats.finish, RILL_FINISH_CONTEXT_FULL);
  EXPECT_EQ(rill_session_length(open.session), 10u);
}

TEST(ApiTest, SessionOutlivesItsModelHandle) {
  Opened open;
  ASSERT_EQ(rill_model_retain(open.model), RILL_OK);
  ASSERT_EQ(rill_model_release(open.model), RILL_OK);
  ASSERT_EQ(rill_model_release(open.model), RILL_OK);
  EXPECT_EQ(rill_model_release(open.model), RILL_E_CLOSED);
  EXPECT_EQ(rill_session_step(open.session, 3), RILL_OK);
  open.model = nullptr;
}

TEST(ApiTest, CppWrapsTheSameReply) {
  const Model model(TinyModelPath());
  auto session_params = params<rill_session_params>();
  session_params.max_tokens = 128;
  Session session(model, session_params);
  session.append(model.chat(R"([{"role":"user","content":"hello"}])"));
  const uint64_t before = session.length();
  auto p = Limited(5);
  int tokens = 0, ends = 0;
  for (const Event& event : session.generate(p)) (event.is_end ? ends : tokens) += 1;
  EXPECT_EQ(tokens, 5);
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(session.length(), before + 5);
  EXPECT_EQ(session.tokens().back(), session.last_token());
  EXPECT_EQ(session.logits().size(), static_cast<size_t>(kVocab));
  try {
    session.append({kVocab});
    FAIL() << "an id outside the vocabulary";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), RILL_E_ARG);
    EXPECT_NE(std::string(error.what()).find(std::to_string(kVocab)), std::string::npos)
        << error.what();
  }
  struct Own {};
  EXPECT_THROW(session.append({1, 2}, [](uint64_t, uint64_t) -> bool { throw Own{}; }), Own);
}

// What reaches stdout and stderr while `body` runs.
template <typename Body>
std::string Printed(Body&& body) {
  const TempDir dir;
  const std::string path = dir / "printed";
  const int file = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  fflush(nullptr);  // what is printed already goes where it was meant to
  const int out = dup(1), err = dup(2);
  dup2(file, 1);
  dup2(file, 2);
  body();
  fflush(nullptr);
  dup2(out, 1);
  dup2(err, 2);
  for (const int fd : {file, out, err}) close(fd);
  return ReadFile(path);
}

TEST(ApiTest, NothingIsPrinted) {
  EXPECT_EQ(Printed([] { std::fprintf(stderr, "x"); }), "x") << "this test sees what is printed";
  EXPECT_EQ(Printed([] {
              const Opened open;
              const int32_t bad = -5;
              rill_session_append(open.session, &bad, 1, nullptr, nullptr);
              const auto ids = RandomIds(20);
              rill_session_append(open.session, ids.data(), ids.size(), nullptr, nullptr);
              const rill_gen_params params = Limited(4);
              rill_generate(open.session, &params, nullptr, nullptr, nullptr);
              rill_model* none = nullptr;
              rill_model_open("/", 1, nullptr, &none);
            }),
            "");
}

}  // namespace
}  // namespace rill::test
