// Every function of rill.h with everything that can be wrong: a code comes back, nothing else
// happens.
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "rill/rill.h"
#include "tests/c_api/model_file.h"

namespace rill::test {
namespace {

constexpr char kHello[] = R"([{"role":"user","content":"hello"}])";

template <typename T>
T Init() {
  T value;
  RILL_INIT(value);
  return value;
}

// A call on a handle, with arguments that are right apart from it.
struct ModelCall {
  const char* name;
  std::function<rill_status(rill_model*)> call;
};
struct SessionCall {
  const char* name;
  std::function<rill_status(rill_session*)> call;
};

// For files that calls write, each to its own, so that threads do not meet there.
std::string ScratchPath() {
  static const TempDir dir;
  static std::atomic<int> n{0};
  return dir / absl::StrCat("s", n++);
}

const std::string& SavedSessionPath() {
  static const std::string saved = [] {
    const std::string path = ScratchPath();
    const Opened open;
    EXPECT_EQ(rill_session_step(open.session, 3), RILL_OK);
    EXPECT_EQ(rill_session_save(open.session, path.data(), path.size(), nullptr, nullptr), RILL_OK)
        << LastError();
    return path;
  }();
  return saved;
}

std::vector<ModelCall> ModelCalls() {
  static int32_t ids[64];
  static char text[64];
  static size_t n;
  return {
      {"retain", [](rill_model* m) { return rill_model_retain(m); }},
      {"info",
       [](rill_model* m) {
         auto out = Init<rill_model_info>();
         return rill_model_get_info(m, &out);
       }},
      {"fingerprint",
       [](rill_model* m) {
         auto out = Init<rill_fingerprint>();
         return rill_model_fingerprint(m, &out);
       }},
      {"tokenize", [](rill_model* m) { return rill_tokenize(m, "the", 3, 0, ids, 64, &n); }},
      {"detok_piece", [](rill_model* m) { return rill_detok_piece(m, 5, text, 64, &n); }},
      {"detok_push",
       [](rill_model* m) {
         rill_utf8 stream{};
         return rill_detok_push(m, &stream, 5, text, 64, &n);
       }},
      {"chat_render",
       [](rill_model* m) {
         return rill_chat_render(m, kHello, sizeof kHello - 1, nullptr, 0, 0, ids, 64, &n);
       }},
      {"chat_append",
       [](rill_model* m) {
         return rill_chat_append(m, -1, kHello, sizeof kHello - 1, 0, ids, 64, &n);
       }},
      {"session_create",
       [](rill_model* m) {
         rill_session* session = nullptr;
         const rill_status status = rill_session_create(m, nullptr, &session);
         EXPECT_EQ(session != nullptr, status == RILL_OK);
         rill_session_close(session);
         return status;
       }},
      {"session_load",
       [](rill_model* m) {
         const std::string& path = SavedSessionPath();
         rill_session* session = nullptr;
         const rill_status status =
             rill_session_load(m, path.data(), path.size(), nullptr, &session, nullptr);
         EXPECT_EQ(session != nullptr, status == RILL_OK);
         rill_session_close(session);
         return status;
       }},
      {"session_read",
       [](rill_model* m) {
         static const std::string file = ReadFile(SavedSessionPath());
         const auto read = [](void*, uint64_t offset, void* data, size_t n) -> int32_t {
           std::memcpy(data, file.data() + offset, n);
           return 0;
         };
         rill_session* session = nullptr;
         const rill_status status =
             rill_session_read(m, file.size(), read, nullptr, nullptr, &session, nullptr);
         EXPECT_EQ(session != nullptr, status == RILL_OK);
         rill_session_close(session);
         return status;
       }},
  };
}

// Those of one caller at a time. In an order that works on a session which holds a token.
std::vector<SessionCall> ExclusiveCalls() {
  static const int32_t id = 3;
  return {
      {"append", [](rill_session* s) { return rill_session_append(s, &id, 1, nullptr, nullptr); }},
      {"step", [](rill_session* s) { return rill_session_step(s, id); }},
      {"tokens",
       [](rill_session* s) {
         size_t n;
         return rill_session_tokens(s, 0, nullptr, 0, &n);
       }},
      {"logits",
       [](rill_session* s) {
         const float* logits;
         size_t n;
         return rill_session_logits(s, &logits, &n);
       }},
      {"logprobs",
       [](rill_session* s) {
         float out;
         return rill_session_logprobs(s, &id, 1, &out, nullptr, 0);
       }},
      {"gen_begin",
       [](rill_session* s) {
         rill_gen* gen = nullptr;
         const rill_status status = rill_gen_begin(s, nullptr, &gen);
         EXPECT_EQ(gen != nullptr, status == RILL_OK);
         rill_gen_end(gen);
         return status;
       }},
      {"generate",
       [](rill_session* s) {
         auto params = Init<rill_gen_params>();
         params.max_tokens = 1;
         return rill_generate(s, &params, nullptr, nullptr, nullptr);
       }},
      {"rewind_cost",
       [](rill_session* s) {
         auto out = Init<rill_rewind_cost>();
         return rill_session_rewind_cost(s, 0, &out);
       }},
      {"rewind",
       [](rill_session* s) { return rill_session_rewind(s, 0, 0, nullptr, nullptr, nullptr); }},
      {"sync",
       [](rill_session* s) { return rill_session_sync(s, &id, 1, nullptr, nullptr, nullptr); }},
      {"mark", [](rill_session* s) { return rill_session_mark(s, 1); }},
      {"unmark", [](rill_session* s) { return rill_session_unmark(s, 1); }},
      {"checkpoints",
       [](rill_session* s) {
         size_t n;
         return rill_session_checkpoints(s, nullptr, 0, &n);
       }},
      {"snapshot, restore",
       [](rill_session* s) {
         rill_snapshot* snapshot = nullptr;
         rill_status status = rill_session_snapshot(s, &snapshot);
         EXPECT_EQ(snapshot != nullptr, status == RILL_OK);
         if (status == RILL_OK) status = rill_session_restore(s, snapshot);
         rill_snapshot_close(snapshot);
         return status;
       }},
      {"fork",
       [](rill_session* s) {
         rill_session* fork = nullptr;
         const rill_status status = rill_session_fork(s, &fork);
         EXPECT_EQ(fork != nullptr, status == RILL_OK);
         rill_session_close(fork);
         return status;
       }},
      {"save",
       [](rill_session* s) {
         const std::string path = ScratchPath();
         auto quick = Init<rill_save_params>();
         quick.durability = RILL_DURABILITY_NONE;
         return rill_session_save(s, path.data(), path.size(), &quick, nullptr);
       }},
      {"attach",
       [](rill_session* s) {
         const std::string path = ScratchPath();
         auto quick = Init<rill_save_params>();
         quick.durability = RILL_DURABILITY_NONE;
         return rill_session_attach(s, path.data(), path.size(), &quick, nullptr);
       }},
      {"flush",
       [](rill_session* s) {
         auto quick = Init<rill_save_params>();
         quick.durability = RILL_DURABILITY_NONE;
         return rill_session_flush(s, &quick, nullptr);
       }},
      {"detach", [](rill_session* s) { return rill_session_detach(s); }},
      {"write",
       [](rill_session* s) {
         const auto write = [](void*, const void*, size_t) -> int32_t { return 0; };
         return rill_session_write(s, nullptr, write, nullptr, nullptr);
       }},
      {"hibernate",
       [](rill_session* s) {
         const std::string path = ScratchPath();
         return rill_session_hibernate(s, path.data(), path.size(), nullptr);
       }},
      {"wake", [](rill_session* s) { return rill_session_wake(s); }},
      {"set_user", [](rill_session* s) { return rill_session_set_user(s, "u", 1); }},
      {"get_user",
       [](rill_session* s) {
         size_t n;
         return rill_session_get_user(s, nullptr, 0, &n);
       }},
      {"gen_resume",
       [](rill_session* s) {
         rill_gen* gen = nullptr;
         const rill_status status = rill_gen_resume(s, &gen);
         EXPECT_EQ(gen, nullptr);
         EXPECT_NE(status, RILL_OK) << "no reply was open";
         return status == RILL_E_STATE ? RILL_OK : status;
       }},
      {"reset", [](rill_session* s) { return rill_session_reset(s); }},
  };
}

std::vector<SessionCall> SharedCalls() {
  return {{"cancel", [](rill_session* s) { return rill_session_cancel(s); }},
          {"stats",
           [](rill_session* s) {
             auto out = Init<rill_stats>();
             return rill_session_get_stats(s, &out);
           }},
          {"length", [](rill_session* s) {
             // Has no status: 0 is its answer for a handle that is none.
             return rill_session_length(s) == 0 ? RILL_E_ARG : RILL_OK;
           }}};
}

std::vector<SessionCall> SessionCalls() {
  std::vector<SessionCall> all = ExclusiveCalls();
  for (const SessionCall& call : SharedCalls()) all.push_back(call);
  return all;
}

rill_status NextOn(rill_gen* gen) {
  auto event = Init<rill_event>();
  return rill_gen_next(gen, &event);
}

std::vector<std::pair<const char*, std::function<rill_status(rill_snapshot*)>>> SnapshotCalls(
    rill_session* session) {
  return {{"restore", [session](rill_snapshot* s) { return rill_session_restore(session, s); }},
          {"length",
           [](rill_snapshot* s) { return rill_snapshot_length(s) == 0 ? RILL_E_ARG : RILL_OK; }},
          {"bytes",
           [](rill_snapshot* s) { return rill_snapshot_bytes(s) == 0 ? RILL_E_ARG : RILL_OK; }}};
}

template <typename T>
T* Forged(uintptr_t bits) {
  return reinterpret_cast<T*>(bits);
}

void Feed(rill_session* session, size_t n) {
  const std::vector<int32_t> ids(n, 7);
  ASSERT_EQ(rill_session_append(session, ids.data(), n, nullptr, nullptr), RILL_OK) << LastError();
}

TEST(MisuseTest, RightCallsWork) {  // else the tests below would prove nothing
  const Opened open;
  for (const ModelCall& call : ModelCalls()) {
    EXPECT_EQ(call.call(open.model), RILL_OK) << call.name << ": " << LastError();
  }
  EXPECT_EQ(rill_model_release(open.model), RILL_OK);
  Feed(open.session, 1);
  for (const SessionCall& call : SharedCalls()) {
    EXPECT_EQ(call.call(open.session), RILL_OK) << call.name << ": " << LastError();
  }
  for (const SessionCall& call : ExclusiveCalls()) {
    EXPECT_EQ(call.call(open.session), RILL_OK) << call.name << ": " << LastError();
  }
}

TEST(MisuseTest, NullHandles) {
  for (const ModelCall& call : ModelCalls()) EXPECT_EQ(call.call(nullptr), RILL_E_ARG) << call.name;
  for (const SessionCall& call : SessionCalls()) {
    EXPECT_EQ(call.call(nullptr), RILL_E_ARG) << call.name;
  }
  EXPECT_EQ(NextOn(nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_model_release(nullptr), RILL_OK);
  EXPECT_EQ(rill_session_close(nullptr), RILL_OK);
  EXPECT_EQ(rill_gen_end(nullptr), RILL_OK);
}

TEST(MisuseTest, ForeignHandles) {
  const Opened open;
  Feed(open.session, 1);
  rill_gen* gen = nullptr;
  ASSERT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_OK);
  int object = 0;
  std::vector<uintptr_t> bits = {
      1,
      3,
      std::numeric_limits<uintptr_t>::max(),
      reinterpret_cast<uintptr_t>(&object),
      reinterpret_cast<uintptr_t>(open.session) + (uintptr_t{1} << 40),
      reinterpret_cast<uintptr_t>(open.session) ^ 1,
  };
  std::mt19937_64 random(std::random_device{}());
  for (int i = 0; i < 2000; ++i) {
    bits.push_back(static_cast<uintptr_t>(random()) | uintptr_t{1} << 60);
  }
  const auto model_bits = reinterpret_cast<uintptr_t>(open.model);
  const auto session_bits = reinterpret_cast<uintptr_t>(open.session);
  const auto gen_bits = reinterpret_cast<uintptr_t>(gen);
  for (const uintptr_t b : bits) {
    for (const ModelCall& call : ModelCalls()) {
      ASSERT_EQ(call.call(Forged<rill_model>(b)), RILL_E_ARG) << call.name << " " << b;
    }
    for (const SessionCall& call : SessionCalls()) {
      ASSERT_EQ(call.call(Forged<rill_session>(b)), RILL_E_ARG) << call.name << " " << b;
    }
    ASSERT_EQ(NextOn(Forged<rill_gen>(b)), RILL_E_ARG);
    ASSERT_EQ(rill_model_release(Forged<rill_model>(b)), RILL_E_ARG);
    ASSERT_EQ(rill_session_close(Forged<rill_session>(b)), RILL_E_ARG);
    ASSERT_EQ(rill_gen_end(Forged<rill_gen>(b)), RILL_E_ARG);
  }
  // Alive, of another kind.
  for (const uintptr_t b : {session_bits, gen_bits}) {
    for (const ModelCall& call : ModelCalls()) {
      EXPECT_EQ(call.call(Forged<rill_model>(b)), RILL_E_ARG) << call.name;
    }
  }
  for (const uintptr_t b : {model_bits, gen_bits}) {
    for (const SessionCall& call : SessionCalls()) {
      EXPECT_EQ(call.call(Forged<rill_session>(b)), RILL_E_ARG) << call.name;
    }
  }
  for (const uintptr_t b : {model_bits, session_bits}) {
    EXPECT_EQ(NextOn(Forged<rill_gen>(b)), RILL_E_ARG);
  }
  EXPECT_EQ(rill_gen_end(gen), RILL_OK);
}

TEST(MisuseTest, SnapshotHandles) {
  const Opened open;
  Feed(open.session, 2);
  rill_gen* gen = nullptr;
  ASSERT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_OK);
  rill_snapshot* snapshot = nullptr;
  ASSERT_EQ(rill_session_snapshot(open.session, &snapshot), RILL_OK) << LastError();
  int object = 0;
  for (const uintptr_t b :
       {uintptr_t{0}, uintptr_t{1}, uintptr_t{7}, std::numeric_limits<uintptr_t>::max(),
        reinterpret_cast<uintptr_t>(&object), reinterpret_cast<uintptr_t>(snapshot) ^ 1,
        reinterpret_cast<uintptr_t>(snapshot) + (uintptr_t{1} << 40),
        reinterpret_cast<uintptr_t>(open.model), reinterpret_cast<uintptr_t>(open.session),
        reinterpret_cast<uintptr_t>(gen)}) {
    for (const auto& [name, call] : SnapshotCalls(open.session)) {
      EXPECT_EQ(call(Forged<rill_snapshot>(b)), RILL_E_ARG) << name << " " << b;
    }
    if (b != 0) {
      EXPECT_EQ(rill_snapshot_close(Forged<rill_snapshot>(b)), RILL_E_ARG);
    }
  }
  const auto bits = reinterpret_cast<uintptr_t>(snapshot);
  EXPECT_EQ(rill_session_step(Forged<rill_session>(bits), 1), RILL_E_ARG);
  EXPECT_EQ(rill_model_retain(Forged<rill_model>(bits)), RILL_E_ARG);
  EXPECT_EQ(NextOn(Forged<rill_gen>(bits)), RILL_E_ARG);
  EXPECT_EQ(rill_gen_end(gen), RILL_OK);
  for (const auto& [name, call] : SnapshotCalls(open.session)) {
    EXPECT_EQ(call(snapshot), RILL_OK) << name << ": " << LastError();
  }
  EXPECT_EQ(rill_snapshot_close(snapshot), RILL_OK);
  rill_snapshot* takes_its_place = nullptr;
  ASSERT_EQ(rill_session_snapshot(open.session, &takes_its_place), RILL_OK);
  for (const auto& [name, call] : SnapshotCalls(open.session)) {
    const bool number = std::string(name) != "restore";
    EXPECT_EQ(call(snapshot), number ? RILL_E_ARG : RILL_E_CLOSED) << name;
  }
  EXPECT_EQ(rill_snapshot_close(snapshot), RILL_E_CLOSED);
  EXPECT_EQ(rill_snapshot_close(takes_its_place), RILL_OK);
  EXPECT_EQ(rill_snapshot_close(nullptr), RILL_OK);
}

TEST(MisuseTest, StaleHandles) {
  rill_model* model = nullptr;
  rill_session* session = nullptr;
  rill_gen* gen = nullptr;
  {
    Opened open;
    Feed(open.session, 1);
    ASSERT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_OK);
    model = open.model;
    session = open.session;
  }
  const Opened takes_their_places;
  for (const ModelCall& call : ModelCalls())
    EXPECT_EQ(call.call(model), RILL_E_CLOSED) << call.name;
  for (const SessionCall& call : SessionCalls()) {
    const rill_status expected = std::string(call.name) == "length" ? RILL_E_ARG : RILL_E_CLOSED;
    EXPECT_EQ(call.call(session), expected) << call.name;
  }
  EXPECT_EQ(NextOn(gen), RILL_E_CLOSED);
  EXPECT_EQ(rill_gen_end(gen), RILL_E_CLOSED) << "closed with its session";
  EXPECT_EQ(rill_session_close(session), RILL_E_CLOSED);
  EXPECT_EQ(rill_model_release(model), RILL_E_CLOSED);
}

TEST(MisuseTest, WrongState) {
  const Opened open;
  const float* logits = nullptr;
  size_t n = 0;
  rill_gen* gen = nullptr;
  float out = 1;
  const int32_t id = 1;
  EXPECT_EQ(rill_session_logits(open.session, &logits, &n), RILL_E_STATE);
  EXPECT_EQ(rill_session_logprobs(open.session, &id, 1, &out, nullptr, 0), RILL_E_STATE);
  EXPECT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_E_STATE);
  EXPECT_EQ(rill_generate(open.session, nullptr, nullptr, nullptr, nullptr), RILL_E_STATE);
  Feed(open.session, 2);
  ASSERT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_OK);
  rill_gen* second = nullptr;
  EXPECT_EQ(rill_gen_begin(open.session, nullptr, &second), RILL_E_STATE);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(rill_generate(open.session, nullptr, nullptr, nullptr, nullptr), RILL_E_STATE);
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_E_STATE);
  EXPECT_EQ(rill_session_append(open.session, &id, 1, nullptr, nullptr), RILL_E_STATE);
  EXPECT_EQ(rill_session_reset(open.session), RILL_E_STATE);
  EXPECT_EQ(rill_session_rewind(open.session, 1, 0, nullptr, nullptr, nullptr), RILL_E_STATE);
  EXPECT_EQ(rill_session_sync(open.session, &id, 1, nullptr, nullptr, nullptr), RILL_E_STATE);
  EXPECT_EQ(rill_gen_resume(open.session, &second), RILL_E_STATE);
  rill_snapshot* snapshot = nullptr;
  EXPECT_EQ(rill_session_snapshot(open.session, &snapshot), RILL_OK) << "a reply is in it";
  EXPECT_EQ(rill_session_restore(open.session, snapshot), RILL_E_STATE);
  EXPECT_EQ(rill_snapshot_close(snapshot), RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 2u);
  EXPECT_EQ(rill_gen_end(gen), RILL_OK);
  EXPECT_EQ(rill_gen_end(gen), RILL_E_CLOSED);
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_OK);
}

TEST(MisuseTest, NullOutputsAndBuffers) {
  const Opened open;
  Feed(open.session, 1);
  const std::string& path = TinyModelPath();
  size_t n = 0;
  const float* logits = nullptr;
  EXPECT_EQ(rill_model_open(path.data(), path.size(), nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_plan_compute(path.data(), path.size(), nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_model_get_info(open.model, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_model_fingerprint(open.model, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_tokenize(open.model, "a", 1, 0, nullptr, 0, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_tokenize(open.model, nullptr, 1, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_tokenize(open.model, "a", 1, 0, nullptr, 4, &n), RILL_E_ARG);
  EXPECT_EQ(rill_detok_piece(open.model, 1, nullptr, 1, &n), RILL_E_ARG);
  EXPECT_EQ(rill_detok_push(open.model, nullptr, 1, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_chat_render(open.model, nullptr, 5, nullptr, 0, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_chat_append(open.model, -1, nullptr, 5, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_create(open.model, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_append(open.session, nullptr, 1, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_tokens(open.session, 0, nullptr, 1, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_tokens(open.session, 0, nullptr, 0, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_logits(open.session, nullptr, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_logits(open.session, &logits, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_logprobs(open.session, nullptr, 1, nullptr, nullptr, 0), RILL_E_ARG);
  EXPECT_EQ(rill_session_logprobs(open.session, nullptr, 0, nullptr, nullptr, 1), RILL_E_ARG);
  EXPECT_EQ(rill_session_get_stats(open.session, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_rewind_cost(open.session, 0, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_sync(open.session, nullptr, 1, nullptr, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_checkpoints(open.session, nullptr, 1, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_checkpoints(open.session, nullptr, 0, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_snapshot(open.session, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_restore(open.session, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_fork(open.session, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_gen_resume(open.session, nullptr), RILL_E_ARG);
  rill_session* none = nullptr;
  const auto read = [](void*, uint64_t, void*, size_t) -> int32_t { return 0; };
  EXPECT_EQ(rill_session_save(open.session, nullptr, 1, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_save(open.session, "", 0, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_attach(open.session, nullptr, 1, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_attach(open.session, nullptr, 0, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_hibernate(open.session, nullptr, 1, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_write(open.session, nullptr, nullptr, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_load(open.model, nullptr, 1, nullptr, &none, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_load(open.model, "x", 1, nullptr, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_read(open.model, 1, nullptr, nullptr, nullptr, &none, nullptr),
            RILL_E_ARG);
  EXPECT_EQ(rill_session_read(open.model, 1, read, nullptr, nullptr, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_set_user(open.session, nullptr, 1), RILL_E_ARG);
  EXPECT_EQ(rill_session_get_user(open.session, nullptr, 1, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_get_user(open.session, nullptr, 0, nullptr), RILL_E_ARG);
  const std::string& saved = SavedSessionPath();
  auto difference = Init<rill_file_difference>();
  EXPECT_EQ(rill_file_inspect(saved.data(), saved.size(), nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_file_verify(nullptr, 1, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_file_compact(nullptr, 1, "x", 1, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_file_compact(saved.data(), saved.size(), nullptr, 1, nullptr, nullptr),
            RILL_E_ARG);
  EXPECT_EQ(rill_file_diff(nullptr, 1, saved.data(), saved.size(), &difference), RILL_E_ARG);
  EXPECT_EQ(rill_file_diff(saved.data(), saved.size(), saved.data(), saved.size(), nullptr),
            RILL_E_ARG);
  EXPECT_EQ(rill_gen_begin(open.session, nullptr, nullptr), RILL_E_ARG);
  rill_gen* gen = nullptr;
  ASSERT_EQ(rill_gen_begin(open.session, nullptr, &gen), RILL_OK);
  EXPECT_EQ(rill_gen_next(gen, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_length(open.session), 1u);
}

TEST(MisuseTest, AbsurdLengths) {
  const Opened open;
  Feed(open.session, 1);
  const size_t absurd = SIZE_MAX;
  size_t n = 1;
  int32_t id = 1;
  char c = 'x';
  float out = 0;
  rill_token_prob top{};
  rill_model* model = nullptr;
  EXPECT_EQ(rill_model_open(&c, absurd, nullptr, &model), RILL_E_ARG);
  EXPECT_EQ(rill_tokenize(open.model, &c, absurd, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(rill_tokenize(open.model, &c, 1, 0, &id, absurd, &n), RILL_E_ARG);
  EXPECT_EQ(rill_detok_piece(open.model, 1, &c, absurd, &n), RILL_E_ARG);
  EXPECT_EQ(rill_chat_render(open.model, &c, absurd, nullptr, 0, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_chat_render(open.model, &c, 1, &c, absurd, 0, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_append(open.session, &id, absurd, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_tokens(open.session, 0, &id, absurd, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_tokens(open.session, UINT64_MAX, nullptr, 0, &n), RILL_E_ARG);
  EXPECT_EQ(rill_session_sync(open.session, &id, absurd, nullptr, nullptr, nullptr), RILL_E_ARG);
  uint64_t position = 0;
  EXPECT_EQ(rill_session_checkpoints(open.session, &position, absurd, &n), RILL_E_ARG);
  auto cost = Init<rill_rewind_cost>();
  for (const uint64_t past : {uint64_t{2}, uint64_t{1} << 62, UINT64_MAX}) {
    cost.recomputed = 9;
    EXPECT_EQ(rill_session_rewind_cost(open.session, past, &cost), RILL_E_ARG);
    EXPECT_EQ(cost.recomputed, 0u);
    cost.recomputed = 9;
    for (const uint32_t flags : {0u, static_cast<uint32_t>(RILL_REWIND_ONLY_CHEAP)}) {
      EXPECT_EQ(rill_session_rewind(open.session, past, flags, nullptr, nullptr, &cost),
                RILL_E_ARG);
      EXPECT_EQ(cost.recomputed, 0u);
    }
  }
  for (const uint32_t flags : {2u, 0x80000000u, UINT32_MAX}) {
    EXPECT_EQ(rill_session_rewind(open.session, 1, flags, nullptr, nullptr, &cost), RILL_E_ARG);
  }
  EXPECT_EQ(rill_session_length(open.session), 1u);
  rill_session* none = nullptr;
  EXPECT_EQ(rill_session_save(open.session, &c, absurd, nullptr, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_hibernate(open.session, &c, absurd, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_load(open.model, &c, absurd, nullptr, &none, nullptr), RILL_E_ARG);
  EXPECT_EQ(rill_session_set_user(open.session, &c, absurd), RILL_E_ARG);
  EXPECT_EQ(rill_session_set_user(open.session, &c, (size_t{64} << 20) + 1), RILL_E_ARG);
  EXPECT_EQ(rill_session_get_user(open.session, &c, absurd, &n), RILL_E_ARG);
  EXPECT_EQ(rill_file_verify(&c, absurd, nullptr, nullptr), RILL_E_ARG);
  const auto nothing = [](void*, uint64_t, void* data, size_t bytes) -> int32_t {
    std::memset(data, 0, bytes);
    return 0;
  };
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{100000}, UINT64_MAX}) {
    EXPECT_EQ(rill_session_read(open.model, size, nothing, nullptr, nullptr, &none, nullptr),
              RILL_E_ARG)
        << LastError();
  }
  const auto longer = [](void*, uint64_t offset, void* data, size_t bytes) -> int32_t {
    static const std::string file = ReadFile(SavedSessionPath());
    std::memset(data, 0, bytes);
    if (offset < file.size()) file.copy(static_cast<char*>(data), bytes, offset);
    return 0;
  };
  EXPECT_EQ(
      rill_session_read(open.model, uint64_t{1} << 60, longer, nullptr, nullptr, &none, nullptr),
      RILL_E_NOMEM)
      << LastError();
  for (const auto set : {+[](rill_load_params& p) { p.max_tokens = UINT64_MAX; },
                         +[](rill_load_params& p) { p.max_tokens = uint64_t{1} << 62; },
                         +[](rill_load_params& p) { p.prefill_chunk = UINT32_MAX; },
                         +[](rill_load_params& p) { p.ladder_slots = 3; },
                         +[](rill_load_params& p) { p.rewind_window = -2; },
                         +[](rill_load_params& p) { p.rewind_window = INT32_MAX; }}) {
    auto params = Init<rill_load_params>();
    set(params);
    EXPECT_EQ(rill_session_load(open.model, SavedSessionPath().data(), SavedSessionPath().size(),
                                &params, &none, nullptr),
              RILL_E_ARG)
        << LastError();
  }
  for (const auto set :
       {+[](rill_save_params& p) { p.durability = 3; },
        +[](rill_save_params& p) { p.durability = -1; }, +[](rill_save_params& p) { p.parts = 8; },
        +[](rill_save_params& p) { p.parts = RILL_SAVE_BARE | RILL_SAVE_RING; },
        +[](rill_save_params& p) { p.parts = UINT32_MAX; }}) {
    auto params = Init<rill_save_params>();
    set(params);
    const std::string path = ScratchPath();
    EXPECT_EQ(rill_session_save(open.session, path.data(), path.size(), &params, nullptr),
              RILL_E_ARG);
    EXPECT_EQ(rill_session_flush(open.session, &params, nullptr), RILL_E_ARG);
  }
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(rill_session_logprobs(open.session, &id, absurd, &out, nullptr, 0), RILL_E_ARG);
  EXPECT_EQ(rill_session_logprobs(open.session, nullptr, 0, nullptr, &top, absurd), RILL_E_ARG);
  rill_gen* gen = nullptr;
  for (const auto set : {+[](rill_gen_params& p) { p.n_bias = SIZE_MAX; },
                         +[](rill_gen_params& p) { p.n_stop_ids = SIZE_MAX; },
                         +[](rill_gen_params& p) { p.n_stop_strings = SIZE_MAX; }}) {
    static const rill_token_bias bias{};
    static const int32_t stop = 0;
    static const rill_str text{};
    auto params = Init<rill_gen_params>();
    params.bias = &bias;
    params.stop_ids = &stop;
    params.stop_strings = &text;
    set(params);
    EXPECT_EQ(rill_gen_begin(open.session, &params, &gen), RILL_E_ARG) << LastError();
  }
  for (const uint64_t max_tokens : {UINT64_MAX, uint64_t{1} << 62}) {
    auto params = Init<rill_session_params>();
    params.max_tokens = max_tokens;
    rill_session* session = nullptr;
    EXPECT_EQ(rill_session_create(open.model, &params, &session), RILL_E_ARG);
  }
  for (const auto set : {+[](rill_session_params& p) { p.rewind_window = -2; },
                         +[](rill_session_params& p) { p.rewind_window = INT32_MAX; },
                         +[](rill_session_params& p) { p.ladder_slots = 1; },
                         +[](rill_session_params& p) { p.ladder_slots = UINT32_MAX; }}) {
    auto params = Init<rill_session_params>();
    set(params);
    rill_session* session = nullptr;
    EXPECT_EQ(rill_session_create(open.model, &params, &session), RILL_E_ARG) << LastError();
  }
}

TEST(MisuseTest, StructSizes) {
  const Opened open;
  Feed(open.session, 1);
  const std::string& path = TinyModelPath();
  for (const uint32_t size : {0u, 3u, 4u, 8u}) {
    rill_model_params model_params{};
    model_params.struct_size = size;
    rill_model* model = nullptr;
    EXPECT_EQ(rill_model_open(path.data(), path.size(), &model_params, &model), RILL_E_ARG);
    rill_session_params session_params{};
    session_params.struct_size = size;
    rill_session* session = nullptr;
    EXPECT_EQ(rill_session_create(open.model, &session_params, &session), RILL_E_ARG);
    rill_gen_params gen_params{};
    gen_params.struct_size = size;
    rill_gen* gen = nullptr;
    EXPECT_EQ(rill_gen_begin(open.session, &gen_params, &gen), RILL_E_ARG);
    rill_plan_params plan_params{};
    plan_params.struct_size = size;
    auto plan = Init<rill_plan>();
    EXPECT_EQ(rill_plan_compute(path.data(), path.size(), &plan_params, &plan), RILL_E_ARG);
    plan.struct_size = size;
    EXPECT_EQ(rill_plan_compute(path.data(), path.size(), nullptr, &plan), RILL_E_ARG);
    rill_model_info info{};
    info.struct_size = size;
    EXPECT_EQ(rill_model_get_info(open.model, &info), RILL_E_ARG);
    rill_fingerprint print{};
    print.struct_size = size;
    EXPECT_EQ(rill_model_fingerprint(open.model, &print), RILL_E_ARG);
    rill_stats stats{};
    stats.struct_size = size;
    EXPECT_EQ(rill_session_get_stats(open.session, &stats), RILL_E_ARG);
    rill_rewind_cost cost{};
    cost.struct_size = size;
    EXPECT_EQ(rill_session_rewind_cost(open.session, 1, &cost), RILL_E_ARG);
    EXPECT_EQ(rill_session_rewind(open.session, 0, 0, nullptr, nullptr, &cost), RILL_E_ARG);
    rill_sync_report report{};
    report.struct_size = size;
    EXPECT_EQ(rill_session_sync(open.session, nullptr, 0, nullptr, nullptr, &report), RILL_E_ARG);
    const std::string& saved = SavedSessionPath();
    const std::string target = ScratchPath();
    rill_save_params save{};
    save.struct_size = size;
    EXPECT_EQ(rill_session_save(open.session, target.data(), target.size(), &save, nullptr),
              RILL_E_ARG);
    rill_save_report saved_report{};
    saved_report.struct_size = size;
    EXPECT_EQ(rill_session_save(open.session, target.data(), target.size(), nullptr, &saved_report),
              RILL_E_ARG);
    EXPECT_EQ(rill_session_hibernate(open.session, target.data(), target.size(), &saved_report),
              RILL_E_ARG);
    EXPECT_FALSE(std::filesystem::exists(target));
    rill_load_params load{};
    load.struct_size = size;
    EXPECT_EQ(rill_session_load(open.model, saved.data(), saved.size(), &load, &session, nullptr),
              RILL_E_ARG);
    rill_load_report loaded{};
    loaded.struct_size = size;
    EXPECT_EQ(rill_session_load(open.model, saved.data(), saved.size(), nullptr, &session, &loaded),
              RILL_E_ARG);
    EXPECT_EQ(session, nullptr);
    rill_file_info file{};
    file.struct_size = size;
    EXPECT_EQ(rill_file_inspect(saved.data(), saved.size(), &file), RILL_E_ARG);
    rill_file_difference difference{};
    difference.struct_size = size;
    EXPECT_EQ(rill_file_diff(saved.data(), saved.size(), saved.data(), saved.size(), &difference),
              RILL_E_ARG);
    rill_gen_stats gen_stats{};
    gen_stats.struct_size = size;
    EXPECT_EQ(rill_generate(open.session, nullptr, nullptr, nullptr, &gen_stats), RILL_E_ARG);
  }
  EXPECT_EQ(rill_session_length(open.session), 1u);
}

TEST(MisuseTest, StructsOfANewerHeader) {
  const Opened open;
  struct Newer {
    rill_session_params known;
    uint64_t unknown;
  } newer{};
  newer.known.struct_size = sizeof newer;
  rill_session* session = nullptr;
  EXPECT_EQ(rill_session_create(open.model, &newer.known, &session), RILL_OK) << LastError();
  EXPECT_EQ(rill_session_close(session), RILL_OK);
  newer.unknown = 1;
  EXPECT_EQ(rill_session_create(open.model, &newer.known, &session), RILL_E_UNSUPPORTED);
  EXPECT_EQ(session, nullptr);
  struct NewerStats {
    rill_stats known;
    uint64_t unknown;
  } stats{};
  stats.known.struct_size = sizeof stats;
  stats.unknown = 42;
  EXPECT_EQ(rill_session_get_stats(open.session, &stats.known), RILL_OK);
  EXPECT_EQ(stats.known.struct_size, sizeof stats);
  EXPECT_EQ(stats.unknown, 42u) << "what the library does not know it does not touch";
}

TEST(MisuseTest, BadValues) {
  const Opened open;
  Feed(open.session, 3);
  const std::string& path = TinyModelPath();
  rill_model* model = nullptr;
  const auto open_with = [&](auto set) {
    auto params = Init<rill_model_params>();
    set(params);
    return rill_model_open(path.data(), path.size(), &params, &model);
  };
  EXPECT_EQ(open_with([](auto& p) { p.sm_budget = 8; }), RILL_E_ARG);  // a host device
  EXPECT_EQ(open_with([](auto& p) { p.sm_budget = -1; }), RILL_E_ARG);
  EXPECT_EQ(open_with([](auto& p) { p.load_mode = 2; }), RILL_E_ARG);
  EXPECT_EQ(open_with([](auto& p) { p.threads = -1; }), RILL_E_ARG);
  EXPECT_EQ(open_with([](auto& p) { p.device = "tpu", p.device_len = 3; }), RILL_E_UNSUPPORTED)
      << LastError();
  EXPECT_EQ(model, nullptr);
  const auto begin_with = [&](auto set) {
    auto params = Init<rill_gen_params>();
    set(params);
    rill_gen* gen = nullptr;
    const rill_status status = rill_gen_begin(open.session, &params, &gen);
    EXPECT_EQ(gen != nullptr, status == RILL_OK);
    rill_gen_end(gen);
    return status;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  static const rill_token_bias bias[] = {{kVocab, 1}};
  static const rill_str no_text[] = {{"\xff", 1}}, empty[] = {{"", 0}};
  EXPECT_EQ(begin_with([&](auto& p) { p.temperature = nan; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.temperature = -1; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.top_p = 1.5f; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.min_p = -0.5f; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.top_k = -2; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.penalty_window = 1u << 30; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.top_logprobs = 21; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.bias = bias, p.n_bias = 1; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.stop_strings = no_text, p.n_stop_strings = 1; }),
            RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto& p) { p.stop_strings = empty, p.n_stop_strings = 1; }), RILL_E_ARG);
  EXPECT_EQ(begin_with([](auto&) {}), RILL_OK) << LastError();
  for (const int32_t id : {-1, kVocab, INT32_MAX, INT32_MIN}) {
    const int32_t ids[] = {1, id};
    EXPECT_EQ(rill_session_step(open.session, id), RILL_E_ARG);
    EXPECT_EQ(rill_session_append(open.session, ids, 2, nullptr, nullptr), RILL_E_ARG);
    char text[64];
    size_t n = 9;
    EXPECT_EQ(rill_detok_piece(open.model, id, text, 64, &n), RILL_E_ARG);
    EXPECT_EQ(n, 0u);
    float out = 1;
    EXPECT_EQ(rill_session_logprobs(open.session, &id, 1, &out, nullptr, 0), RILL_E_ARG);
    EXPECT_EQ(out, 0.0f);
  }
  EXPECT_EQ(rill_session_length(open.session), 3u);
  EXPECT_EQ(rill_set_log(nullptr, nullptr, 17), RILL_E_ARG);
}

TEST(MisuseTest, BadText) {
  const Opened open;
  size_t n = 1;
  for (const std::string& bad :
       std::vector<std::string>{"\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(rill_tokenize(open.model, bad.data(), bad.size(), 0, nullptr, 0, &n), RILL_E_ARG);
    EXPECT_EQ(n, 0u);
    const std::string json = R"([{"role":"user","content":")" + bad + "\"}]";
    EXPECT_EQ(rill_chat_render(open.model, json.data(), json.size(), nullptr, 0, 0, nullptr, 0, &n),
              RILL_E_ARG);
  }
  const std::string deep(100000, '[');
  for (const std::string& json :
       std::vector<std::string>{"{", "", "[1]", deep, R"([{"role":"nobody","content":"x"}])"}) {
    EXPECT_EQ(rill_chat_render(open.model, json.data(), json.size(), nullptr, 0, 0, nullptr, 0, &n),
              RILL_E_ARG)
        << json.substr(0, 40);
    EXPECT_EQ(rill_chat_append(open.model, -1, json.data(), json.size(), 0, nullptr, 0, &n),
              RILL_E_ARG);
  }
  EXPECT_EQ(rill_tokenize(open.model, "x", 1, 6, nullptr, 0, &n), RILL_E_ARG) << "unknown flags";
  EXPECT_EQ(rill_chat_append(open.model, kVocab, kHello, sizeof kHello - 1, 0, nullptr, 0, &n),
            RILL_E_ARG);
  rill_utf8 stream{};
  stream.n = 200;
  EXPECT_EQ(rill_detok_push(open.model, &stream, 1, nullptr, 0, &n), RILL_E_ARG);
  stream.n = 1;
  stream.pending[0] = 'x';
  EXPECT_EQ(rill_detok_push(open.model, &stream, 1, nullptr, 0, &n), RILL_E_ARG);
}

TEST(MisuseTest, SmallBuffersSayWhatIsNeeded) {
  const Opened open;
  int32_t ids[2] = {-9, -9};
  size_t n = 0;
  EXPECT_EQ(rill_tokenize(open.model, "xyzw", 4, 0, ids, 2, &n), RILL_E_ARG);
  EXPECT_EQ(n, 4u);
  EXPECT_EQ(ids[0], -9) << "nothing is written";
  for (int i = 0; i < 3; ++i) Feed(open.session, 5);
  uint64_t position = 77;
  EXPECT_EQ(rill_session_checkpoints(open.session, &position, 1, &n), RILL_E_ARG);
  EXPECT_GE(n, 2u);
  EXPECT_EQ(position, 77u);
  char message[8] = {};
  EXPECT_GT(rill_last_error(message, sizeof message), 7u);
  EXPECT_EQ(message[7], '\0');
  EXPECT_GT(rill_last_error(nullptr, 100), 0u);
}

TEST(MisuseTest, NoTokenizer) {
  const Opened open(TinyModelWithoutTokenizerPath());
  for (const ModelCall& call : ModelCalls()) {
    const std::string name = call.name;
    const bool text = name == "tokenize" || name.find("detok") == 0 || name.find("chat") == 0;
    const bool file = name == "session_load" || name == "session_read";
    const rill_status expected = text ? RILL_E_UNSUPPORTED : file ? RILL_E_MISMATCH : RILL_OK;
    EXPECT_EQ(call.call(open.model), expected) << name;
  }
  EXPECT_EQ(rill_model_release(open.model), RILL_OK);
  Feed(open.session, 1);
  static const rill_str stop[] = {{"x", 1}};
  auto params = Init<rill_gen_params>();
  params.stop_strings = stop;
  params.n_stop_strings = 1;
  EXPECT_EQ(rill_generate(open.session, &params, nullptr, nullptr, nullptr), RILL_E_UNSUPPORTED);
  params = Init<rill_gen_params>();
  params.max_tokens = 3;
  EXPECT_EQ(rill_generate(open.session, &params, nullptr, nullptr, nullptr), RILL_OK);
}

TEST(MisuseTest, ReentryIsRefusedAndHarmless) {
  const Opened open;
  Feed(open.session, 1);
  const auto reenter = [](void* ud) {
    auto* session = static_cast<rill_session*>(ud);
    for (const SessionCall& call : ExclusiveCalls()) {
      EXPECT_EQ(call.call(session), RILL_E_REENTRANT) << call.name;
    }
    EXPECT_EQ(rill_session_close(session), RILL_E_REENTRANT);
    EXPECT_GT(rill_session_length(session), 0u);
    auto stats = Init<rill_stats>();
    EXPECT_EQ(rill_session_get_stats(session, &stats), RILL_OK);
  };
  const std::vector<int32_t> ids(20, 4);
  static std::function<void(void*)> inside;
  inside = reenter;
  EXPECT_EQ(
      rill_session_append(
          open.session, ids.data(), ids.size(),
          [](void* ud, uint64_t, uint64_t) -> int32_t { return inside(ud), 0; }, open.session),
      RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 21u);
  auto params = Init<rill_gen_params>();
  params.max_tokens = 2;
  params.ignore_model_stops = 1;
  EXPECT_EQ(rill_generate(
                open.session, &params,
                [](void* ud, const rill_event*) -> int32_t { return inside(ud), 0; }, open.session,
                nullptr),
            RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 23u);
  static const auto progress = [](void* ud, uint64_t, uint64_t) -> int32_t {
    return inside(ud), 0;
  };
  std::vector<int32_t> other = ids;
  other[0] = 7;  // as it begins; then it is another
  other[5] = 5;
  EXPECT_EQ(rill_session_sync(open.session, other.data(), 15, progress, open.session, nullptr),
            RILL_OK);
  const std::string path = ScratchPath();
  auto save = Init<rill_save_params>();
  save.progress = progress;
  save.progress_ud = open.session;
  EXPECT_EQ(rill_session_attach(open.session, path.data(), path.size(), &save, nullptr), RILL_OK);
  EXPECT_EQ(rill_session_step(open.session, 4), RILL_OK);
  EXPECT_EQ(rill_session_flush(open.session, &save, nullptr), RILL_OK);
  EXPECT_EQ(rill_session_write(
                open.session, &save,
                [](void* ud, const void*, size_t) -> int32_t { return inside(ud), 0; },
                open.session, nullptr),
            RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 16u);
}

TEST(MisuseTest, CancelFromACallback) {
  const Opened open;
  const std::vector<int32_t> ids(200, 4);
  EXPECT_EQ(rill_session_append(
                open.session, ids.data(), ids.size(),
                [](void* ud, uint64_t, uint64_t) -> int32_t {
                  EXPECT_EQ(rill_session_cancel(static_cast<rill_session*>(ud)), RILL_OK);
                  return 0;
                },
                open.session),
            RILL_E_CANCELLED);
  EXPECT_LT(rill_session_length(open.session), 200u);
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_OK) << "later calls are not cancelled";
}

TEST(MisuseTest, CancelEndsASaveAndTheFileStays) {
  const Opened open;
  Feed(open.session, 200);
  const std::string path = ScratchPath();
  ASSERT_EQ(rill_session_attach(open.session, path.data(), path.size(), nullptr, nullptr), RILL_OK);
  const std::string before = ReadFile(path);
  Feed(open.session, 3);
  auto params = Init<rill_save_params>();
  params.progress = [](void* ud, uint64_t, uint64_t) -> int32_t {
    EXPECT_EQ(rill_session_cancel(static_cast<rill_session*>(ud)), RILL_OK);
    return 0;
  };
  params.progress_ud = open.session;
  EXPECT_EQ(rill_session_save(open.session, path.data(), path.size(), &params, nullptr),
            RILL_E_CANCELLED);
  EXPECT_EQ(rill_session_flush(open.session, &params, nullptr), RILL_E_CANCELLED);
  EXPECT_EQ(ReadFile(path), before);
  auto report = Init<rill_save_report>();
  EXPECT_EQ(rill_session_flush(open.session, nullptr, &report), RILL_OK) << LastError();
  EXPECT_EQ(report.new_tokens, 3u);
}

// Holds a session inside a call on another thread until it is let go, or cancelled.
class Holder {
 public:
  explicit Holder(rill_session* session) : ids_(64, 4) {
    thread_ = std::thread([this, session] {
      status_ = rill_session_append(
          session, ids_.data(), ids_.size(),
          [](void* ud, uint64_t, uint64_t) -> int32_t {
            auto* self = static_cast<Holder*>(ud);
            self->inside_ = true;
            const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
            while (!self->go_ && std::chrono::steady_clock::now() < give_up) {
              std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
            return 0;
          },
          this);
    });
    while (!inside_) std::this_thread::yield();
  }
  void Go() { go_ = true; }
  rill_status Join() {
    thread_.join();
    return status_;
  }

 private:
  std::vector<int32_t> ids_;
  std::atomic<bool> inside_{false}, go_{false};
  rill_status status_ = -1;
  std::thread thread_;
};

TEST(MisuseTest, ASecondThreadIsBusy) {
  const Opened open;
  Feed(open.session, 1);
  rill_snapshot* snapshot = nullptr;
  ASSERT_EQ(rill_session_snapshot(open.session, &snapshot), RILL_OK);
  Holder holder(open.session);
  for (const SessionCall& call : ExclusiveCalls()) {
    EXPECT_EQ(call.call(open.session), RILL_E_BUSY) << call.name;
  }
  EXPECT_EQ(rill_session_restore(open.session, snapshot), RILL_E_BUSY);
  EXPECT_EQ(rill_snapshot_length(snapshot), 1u);
  EXPECT_EQ(rill_snapshot_close(snapshot), RILL_OK);
  for (const SessionCall& call : SharedCalls()) {
    if (std::string(call.name) == "cancel") continue;
    EXPECT_EQ(call.call(open.session), RILL_OK) << call.name;
  }
  holder.Go();
  EXPECT_EQ(holder.Join(), RILL_OK);
  EXPECT_EQ(rill_session_length(open.session), 65u);
}

TEST(MisuseTest, CancelFromAnotherThread) {
  const Opened open;
  Holder holder(open.session);
  EXPECT_EQ(rill_session_cancel(open.session), RILL_OK);
  holder.Go();
  EXPECT_EQ(holder.Join(), RILL_E_CANCELLED);
  EXPECT_EQ(rill_session_length(open.session) % 16, 0u);
}

TEST(MisuseTest, CloseCancelsAndWaits) {
  Opened open;
  Holder holder(open.session);
  std::atomic<bool> closed{false};
  std::thread closer([&] {
    EXPECT_EQ(rill_session_close(open.session), RILL_OK);
    closed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(closed) << "the call is still inside";
  holder.Go();
  EXPECT_EQ(holder.Join(), RILL_E_CANCELLED);
  closer.join();
  EXPECT_EQ(rill_session_step(open.session, 1), RILL_E_CLOSED);
  open.session = nullptr;
}

// Many threads on the same handles at once: every answer is one of those that are documented.
TEST(MisuseTest, StormOfCallsAndCloses) {
  for (int round = 0; round < 20; ++round) {
    rill_session* session = nullptr;
    const Opened open;
    ASSERT_EQ(rill_session_create(open.model, nullptr, &session), RILL_OK);
    std::vector<std::thread> threads;
    std::atomic<int> closes{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 30; ++i) {
          for (const SessionCall& call : SessionCalls()) {
            const rill_status status = call.call(session);
            const bool expected = status == RILL_OK || status == RILL_E_BUSY ||
                                  status == RILL_E_CLOSED || status == RILL_E_CANCELLED ||
                                  status == RILL_E_STATE || status == RILL_E_CONTEXT_FULL ||
                                  std::string(call.name) == "length";
            EXPECT_TRUE(expected) << call.name << " " << rill_status_name(status);
          }
          if (i == 10 + t) closes += rill_session_close(session) == RILL_OK;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(closes, 1) << "of several closes one succeeds";
  }
}

TEST(MisuseTest, ErrorsBelongToTheirThread) {
  EXPECT_EQ(rill_session_close(Forged<rill_session>(3)), RILL_E_ARG);
  const std::string mine = LastError();
  std::thread([] {
    EXPECT_EQ(LastError(), "");
    EXPECT_EQ(rill_set_log(nullptr, nullptr, -1), RILL_E_ARG);
  }).join();
  EXPECT_EQ(LastError(), mine);
  EXPECT_EQ(rill_session_close(nullptr), RILL_OK);
  EXPECT_EQ(LastError(), mine) << "success does not touch it";
}

}  // namespace
}  // namespace rill::test
