// rill.hpp — the C interface for C++17: handles that close themselves, errors that are thrown.
//
//   rill::Model model("kimi.rill");
//   rill::Session session(model);
//   session.append(model.chat(R"([{"role": "user", "content": "Hello!"}])"));
//   for (const rill::Event& event : session.generate()) std::cout << event.text << std::flush;
//
// Header only, on rill.h alone: conventions, thread rule and error codes are those written there,
// and its params structs are used as they are (rill::params<rill_gen_params>() makes one). Every
// failing call throws rill::Error and leaves its objects as rill.h says.
#ifndef RILL_RILL_HPP_
#define RILL_RILL_HPP_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rill/rill.h"

namespace rill {

class Error : public std::exception {
 public:
  // The last failure of the calling thread.
  explicit Error(rill_status code) : code_(code), message_(rill_last_error(nullptr, 0), '\0') {
    rill_last_error(&message_[0], message_.size() + 1);
    message_.insert(0, std::string(rill_status_name(code)) + ": ");
  }
  rill_status code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  rill_status code_;
  std::string message_;
};

inline void check(rill_status status) {
  if (status != RILL_OK) throw Error(status);
}

// A struct of rill.h with all defaults.
template <typename T>
T params() {
  T value;
  RILL_INIT(value);
  return value;
}

// done, total; true cancels. What it throws ends the call and is thrown again from it, as with the
// two below.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;
// Storage of yours for a session file: takes the next bytes; gives those at an offset, all of them.
using Sink = std::function<void(const void* data, std::size_t n)>;
using Source = std::function<void(std::uint64_t offset, void* data, std::size_t n)>;

namespace detail {

template <typename T, rill_status (*close)(T*)>
struct Closer {
  void operator()(T* handle) const noexcept { close(handle); }
};

struct ProgressCall {
  const Progress& fn;
  std::exception_ptr thrown = nullptr;

  static std::int32_t call(void* ud, std::uint64_t done, std::uint64_t total) noexcept {
    auto* self = static_cast<ProgressCall*>(ud);
    try {
      return self->fn(done, total) ? 1 : 0;
    } catch (...) {
      self->thrown = std::current_exception();
      return 1;
    }
  }
  void check(rill_status status) const {
    if (thrown) std::rethrow_exception(thrown);
    rill::check(status);
  }
};

// A Sink or a Source as a callback of rill.h.
template <typename Fn>
struct StorageCall {
  const Fn& fn;
  std::exception_ptr thrown = nullptr;

  template <typename... Args>
  static std::int32_t call(void* ud, Args... args) noexcept {
    auto* self = static_cast<StorageCall*>(ud);
    try {
      self->fn(args...);
      return 0;
    } catch (...) {
      self->thrown = std::current_exception();
      return 1;
    }
  }
  void check(rill_status status) const {
    if (thrown) std::rethrow_exception(thrown);
    rill::check(status);
  }
};

// Convention 4 of rill.h: ask, make room, ask again.
template <typename Container, typename Call>
Container fill(Call&& call) {
  std::size_t count = 0;
  rill::check(call(nullptr, 0, &count));
  Container values(count, {});
  if (count > 0) rill::check(call(values.data(), values.size(), &count));
  return values;
}

}  // namespace detail

// Bytes a model and its sessions would take.
inline rill_plan plan(std::string_view path,
                      const rill_plan_params& p = params<rill_plan_params>()) {
  auto out = params<rill_plan>();
  check(rill_plan_compute(path.data(), path.size(), &p, &out));
  return out;
}

// A copy is another reference to the same model. Thread-safe.
class Model {
 public:
  explicit Model(std::string_view path, const rill_model_params& p = params<rill_model_params>()) {
    rill_model* handle = nullptr;
    check(rill_model_open(path.data(), path.size(), &p, &handle));
    handle_.reset(handle, [](rill_model* m) { rill_model_release(m); });
  }
  Model(std::string_view path, rill_model_params p, const Progress& progress) {
    detail::ProgressCall call{progress};
    p.progress = detail::ProgressCall::call;
    p.progress_ud = &call;
    rill_model* handle = nullptr;
    call.check(rill_model_open(path.data(), path.size(), &p, &handle));
    handle_.reset(handle, [](rill_model* m) { rill_model_release(m); });
  }

  rill_model_info info() const {
    auto out = params<rill_model_info>();
    check(rill_model_get_info(get(), &out));
    return out;
  }
  rill_fingerprint fingerprint() const {
    auto out = params<rill_fingerprint>();
    check(rill_model_fingerprint(get(), &out));
    return out;
  }
  std::vector<std::int32_t> tokenize(std::string_view text, std::uint32_t flags = 0) const {
    return detail::fill<std::vector<std::int32_t>>(
        [&](std::int32_t* ids, std::size_t cap, std::size_t* n) {
          return rill_tokenize(get(), text.data(), text.size(), flags, ids, cap, n);
        });
  }
  // The bytes of one token; may end inside a character.
  std::string piece(std::int32_t id) const {
    return detail::fill<std::string>([&](char* buf, std::size_t cap, std::size_t* n) {
      return rill_detok_piece(get(), id, buf, cap, n);
    });
  }
  // The characters that are whole once `id` is added to the stream; id -1 ends it.
  std::string push(rill_utf8& stream, std::int32_t id) const {
    return detail::fill<std::string>([&](char* buf, std::size_t cap, std::size_t* n) {
      return rill_detok_push(get(), &stream, id, buf, cap, n);
    });
  }
  // A whole conversation, open for the reply unless flags say otherwise.
  std::vector<std::int32_t> chat(std::string_view messages_json, std::string_view tools_json = {},
                                 std::uint32_t flags = RILL_CHAT_OPEN_REPLY) const {
    return detail::fill<std::vector<std::int32_t>>(
        [&](std::int32_t* ids, std::size_t cap, std::size_t* n) {
          return rill_chat_render(get(), messages_json.data(), messages_json.size(),
                                  tools_json.data(), tools_json.size(), flags, ids, cap, n);
        });
  }
  // What follows a conversation whose last token is `last_id` (Session::last_token()).
  std::vector<std::int32_t> chat_after(std::int32_t last_id, std::string_view messages_json,
                                       std::uint32_t flags = RILL_CHAT_OPEN_REPLY) const {
    return detail::fill<std::vector<std::int32_t>>(
        [&](std::int32_t* ids, std::size_t cap, std::size_t* n) {
          return rill_chat_append(get(), last_id, messages_json.data(), messages_json.size(), flags,
                                  ids, cap, n);
        });
  }
  rill_model* get() const noexcept { return handle_.get(); }

 private:
  std::shared_ptr<rill_model> handle_;
};

// One event of a reply. `text` and `top` are valid until the next event.
struct Event {
  bool is_end = false;
  std::int32_t id = -1;
  float logprob = 0;
  std::int32_t finish = RILL_FINISH_NONE;
  std::uint64_t position = 0;
  std::string_view text;
  const rill_token_prob* top = nullptr;
  std::size_t n_top = 0;
};

// A reply being produced: call next(), or go over its events once with a range for; the last one is
// the end. Destroying it early keeps the tokens fed so far. Movable; one caller, the session's.
class Generation {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Event;
    using difference_type = std::ptrdiff_t;
    using pointer = const Event*;
    using reference = const Event&;

    Iterator() = default;
    explicit Iterator(Generation* generation)
        : generation_(generation), event_(generation->next()) {}
    reference operator*() const { return event_; }
    pointer operator->() const { return &event_; }
    Iterator& operator++() {
      if (event_.is_end) {
        generation_ = nullptr;
      } else {
        event_ = generation_->next();
      }
      return *this;
    }
    bool operator==(const Iterator& other) const { return generation_ == other.generation_; }
    bool operator!=(const Iterator& other) const { return !(*this == other); }

   private:
    Generation* generation_ = nullptr;
    Event event_;
  };

  Event next() {
    auto raw = params<rill_event>();
    check(rill_gen_next(handle_.get(), &raw));
    Event event;
    event.is_end = raw.kind == RILL_EVENT_END;
    event.id = raw.id;
    event.logprob = raw.logprob;
    event.finish = raw.finish;
    event.position = raw.position;
    event.text = raw.text_len > 0 ? std::string_view(raw.text, raw.text_len) : std::string_view();
    event.top = raw.top;
    event.n_top = raw.n_top;
    return event;
  }
  Iterator begin() { return Iterator(this); }
  Iterator end() { return Iterator(); }
  rill_gen* get() const noexcept { return handle_.get(); }

 private:
  friend class Session;
  explicit Generation(rill_gen* handle) : handle_(handle) {}
  std::unique_ptr<rill_gen, detail::Closer<rill_gen, rill_gen_end>> handle_;
};

// A timeline as it was, to come back to: Session::snapshot() and restore(). Movable, thread-safe;
// outlives its session.
class Snapshot {
 public:
  std::uint64_t length() const noexcept { return rill_snapshot_length(get()); }
  std::uint64_t bytes() const noexcept { return rill_snapshot_bytes(get()); }
  rill_snapshot* get() const noexcept { return handle_.get(); }

 private:
  friend class Session;
  explicit Snapshot(rill_snapshot* handle) : handle_(handle) {}
  std::unique_ptr<rill_snapshot, detail::Closer<rill_snapshot, rill_snapshot_close>> handle_;
};

// One timeline of tokens. Movable; one caller at a time, cancel() from any thread.
class Session {
 public:
  explicit Session(const Model& model,
                   const rill_session_params& p = params<rill_session_params>()) {
    rill_session* handle = nullptr;
    check(rill_session_create(model.get(), &p, &handle));
    handle_.reset(handle);
  }

  void append(const std::vector<std::int32_t>& ids) {
    check(rill_session_append(get(), ids.data(), ids.size(), nullptr, nullptr));
  }
  void append(const std::vector<std::int32_t>& ids, const Progress& progress) {
    detail::ProgressCall call{progress};
    call.check(
        rill_session_append(get(), ids.data(), ids.size(), detail::ProgressCall::call, &call));
  }
  void step(std::int32_t id) { check(rill_session_step(get(), id)); }
  void reset() { check(rill_session_reset(get())); }
  void cancel() { check(rill_session_cancel(get())); }
  Generation generate(const rill_gen_params& p = params<rill_gen_params>()) {
    rill_gen* handle = nullptr;
    check(rill_gen_begin(get(), &p, &handle));
    return Generation(handle);
  }
  // The reply that was open where this session was forked or restored from.
  Generation resume() {
    rill_gen* handle = nullptr;
    check(rill_gen_resume(get(), &handle));
    return Generation(handle);
  }

  rill_rewind_cost rewind_cost(std::uint64_t position) const {
    auto out = params<rill_rewind_cost>();
    check(rill_session_rewind_cost(get(), position, &out));
    return out;
  }
  rill_rewind_cost rewind(std::uint64_t position, std::uint32_t flags = 0) {
    auto out = params<rill_rewind_cost>();
    check(rill_session_rewind(get(), position, flags, nullptr, nullptr, &out));
    return out;
  }
  rill_rewind_cost rewind(std::uint64_t position, std::uint32_t flags, const Progress& progress) {
    auto out = params<rill_rewind_cost>();
    detail::ProgressCall call{progress};
    call.check(
        rill_session_rewind(get(), position, flags, detail::ProgressCall::call, &call, &out));
    return out;
  }
  void mark(std::uint64_t tag) { check(rill_session_mark(get(), tag)); }
  void unmark(std::uint64_t tag) { check(rill_session_unmark(get(), tag)); }
  std::vector<std::uint64_t> checkpoints() const {
    return detail::fill<std::vector<std::uint64_t>>(
        [&](std::uint64_t* positions, std::size_t cap, std::size_t* n) {
          return rill_session_checkpoints(get(), positions, cap, n);
        });
  }
  // Makes the timeline these tokens.
  rill_sync_report sync(const std::vector<std::int32_t>& ids) {
    auto out = params<rill_sync_report>();
    check(rill_session_sync(get(), ids.data(), ids.size(), nullptr, nullptr, &out));
    return out;
  }
  rill_sync_report sync(const std::vector<std::int32_t>& ids, const Progress& progress) {
    auto out = params<rill_sync_report>();
    detail::ProgressCall call{progress};
    call.check(
        rill_session_sync(get(), ids.data(), ids.size(), detail::ProgressCall::call, &call, &out));
    return out;
  }

  Snapshot snapshot() {
    rill_snapshot* handle = nullptr;
    check(rill_session_snapshot(get(), &handle));
    return Snapshot(handle);
  }
  void restore(const Snapshot& snapshot) { check(rill_session_restore(get(), snapshot.get())); }
  Session fork() {
    rill_session* handle = nullptr;
    check(rill_session_fork(get(), &handle));
    return Session(handle);
  }

  rill_save_report save(std::string_view path,
                        const rill_save_params& p = params<rill_save_params>()) {
    auto out = params<rill_save_report>();
    check(rill_session_save(get(), path.data(), path.size(), &p, &out));
    return out;
  }
  rill_save_report attach(std::string_view path,
                          const rill_save_params& p = params<rill_save_params>()) {
    auto out = params<rill_save_report>();
    check(rill_session_attach(get(), path.data(), path.size(), &p, &out));
    return out;
  }
  rill_save_report flush(const rill_save_params& p = params<rill_save_params>()) {
    auto out = params<rill_save_report>();
    check(rill_session_flush(get(), &p, &out));
    return out;
  }
  void detach() { check(rill_session_detach(get())); }
  // report may be null; its struct_size is set here.
  static Session load(const Model& model, std::string_view path,
                      const rill_load_params& p = params<rill_load_params>(),
                      rill_load_report* report = nullptr) {
    if (report != nullptr) *report = params<rill_load_report>();
    rill_session* handle = nullptr;
    check(rill_session_load(model.get(), path.data(), path.size(), &p, &handle, report));
    return Session(handle);
  }
  rill_save_report write(const Sink& sink, const rill_save_params& p = params<rill_save_params>()) {
    auto out = params<rill_save_report>();
    detail::StorageCall<Sink> call{sink};
    call.check(rill_session_write(
        get(), &p, detail::StorageCall<Sink>::call<const void*, std::size_t>, &call, &out));
    return out;
  }
  static Session read(const Model& model, std::uint64_t size, const Source& source,
                      const rill_load_params& p = params<rill_load_params>(),
                      rill_load_report* report = nullptr) {
    if (report != nullptr) *report = params<rill_load_report>();
    detail::StorageCall<Source> call{source};
    rill_session* handle = nullptr;
    call.check(rill_session_read(
        model.get(), size, detail::StorageCall<Source>::call<std::uint64_t, void*, std::size_t>,
        &call, &p, &handle, report));
    return Session(handle);
  }
  // To the attached file when path is empty. Whatever needs the session wakes it.
  rill_save_report hibernate(std::string_view path = {}) {
    auto out = params<rill_save_report>();
    check(rill_session_hibernate(get(), path.data(), path.size(), &out));
    return out;
  }
  void wake() { check(rill_session_wake(get())); }
  bool asleep() const { return stats().asleep != 0; }
  // Bytes of yours that are saved with the session.
  void set_user(std::string_view bytes) {
    check(rill_session_set_user(get(), bytes.data(), bytes.size()));
  }
  std::string user() const {
    return detail::fill<std::string>([&](char* buf, std::size_t cap, std::size_t* n) {
      return rill_session_get_user(get(), buf, cap, n);
    });
  }

  std::uint64_t length() const noexcept { return rill_session_length(get()); }
  std::vector<std::int32_t> tokens(std::uint64_t from = 0) const {
    return detail::fill<std::vector<std::int32_t>>(
        [&](std::int32_t* ids, std::size_t cap, std::size_t* n) {
          return rill_session_tokens(get(), from, ids, cap, n);
        });
  }
  // -1 when the session is empty.
  std::int32_t last_token() const {
    const std::uint64_t n = length();
    return n == 0 ? -1 : tokens(n - 1).at(0);
  }
  // A copy of the logits after the last token.
  std::vector<float> logits() {
    const float* values = nullptr;
    std::size_t n = 0;
    check(rill_session_logits(get(), &values, &n));
    return {values, values + n};
  }
  rill_stats stats() const {
    auto out = params<rill_stats>();
    check(rill_session_get_stats(get(), &out));
    return out;
  }
  rill_session* get() const noexcept { return handle_.get(); }

 private:
  explicit Session(rill_session* handle) : handle_(handle) {}
  std::unique_ptr<rill_session, detail::Closer<rill_session, rill_session_close>> handle_;
};

// Session files without a model.
inline rill_file_info inspect(std::string_view path) {
  auto out = params<rill_file_info>();
  check(rill_file_inspect(path.data(), path.size(), &out));
  return out;
}
inline void verify(std::string_view path) {
  check(rill_file_verify(path.data(), path.size(), nullptr, nullptr));
}
inline void verify(std::string_view path, const Progress& progress) {
  detail::ProgressCall call{progress};
  call.check(rill_file_verify(path.data(), path.size(), detail::ProgressCall::call, &call));
}
inline rill_save_report compact(std::string_view from, std::string_view to,
                                const rill_save_params& p = params<rill_save_params>()) {
  auto out = params<rill_save_report>();
  check(rill_file_compact(from.data(), from.size(), to.data(), to.size(), &p, &out));
  return out;
}
inline rill_file_difference diff(std::string_view a, std::string_view b) {
  auto out = params<rill_file_difference>();
  check(rill_file_diff(a.data(), a.size(), b.data(), b.size(), &out));
  return out;
}

}  // namespace rill

#endif  // RILL_RILL_HPP_
