#include "chat_session.h"

#include <unistd.h>

#include <cstdio>

#include "interrupt.h"
#include "nlohmann/json.hpp"

namespace rill_chat {
namespace {

int32_t ShowLoading(void* terminal, uint64_t done, uint64_t total) {
  if (terminal != nullptr && total > 0)
    std::fprintf(stderr, "\rloading %3.0f %%",
                 100.0 * static_cast<double>(done) / static_cast<double>(total));
  return Interrupted();
}

int32_t StopWhenInterrupted(void*, uint64_t, uint64_t) { return Interrupted(); }

double Rate(uint64_t tokens, int64_t nanos) {
  return nanos > 0 ? 1e9 * static_cast<double>(tokens) / static_cast<double>(nanos) : 0;
}

}  // namespace

ChatSession::~ChatSession() {
  for (const Branch& branch : branches_) rill_session_close(branch.session);
  rill_model_release(model_);
}

bool ChatSession::Ok(rill_status status) {
  if (status == RILL_OK) return true;
  char text[512];
  rill_last_error(text, sizeof text);
  return Fail(text);
}

bool ChatSession::Fail(const std::string& message) {
  error_ = message;
  return false;
}

bool ChatSession::OpenModel() {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  rill_model_params model;
  RILL_INIT(model);
  model.device = options_.device.data();
  model.device_len = options_.device.size();
  model.threads = options_.threads;
  model.progress = ShowLoading;
  model.progress_ud = terminal ? this : nullptr;
  const bool opened =
      Ok(rill_model_open(options_.model.data(), options_.model.size(), &model, &model_));
  if (terminal) std::fputs("\r             \r", stderr);
  return opened;
}

bool ChatSession::Open() { return OpenModel() && OpenBranch(); }

bool ChatSession::Reset() {
  if (!Ok(rill_session_reset(here().session))) return false;
  here().borders.clear();
  return Keep();
}

bool ChatSession::LastToken(int32_t& id) {
  const uint64_t length = rill_session_length(here().session);
  id = -1;
  size_t count = 0;
  return length == 0 || Ok(rill_session_tokens(here().session, length - 1, &id, 1, &count));
}

bool ChatSession::Render(const std::string& message, std::vector<int32_t>& ids) {
  auto messages = nlohmann::json::array();
  if (rill_session_length(here().session) == 0 && !options_.system.empty())
    messages.push_back({{"role", "system"}, {"content", options_.system}});
  messages.push_back({{"role", "user"}, {"content", message}});
  // A terminal can send bytes that are no UTF-8.
  const std::string json = messages.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  int32_t last = -1;
  if (!LastToken(last)) return false;
  size_t count = 0;
  const auto render = [&](size_t cap) {
    return rill_chat_append(model_, last, json.data(), json.size(), RILL_CHAT_OPEN_REPLY,
                            ids.data(), cap, &count);
  };
  if (!Ok(render(0))) return false;
  ids.resize(count);
  return Ok(render(ids.size()));
}

bool ChatSession::Say(const std::string& message, Output& output) {
  const uint64_t start = rill_session_length(here().session);
  const bool answered = Exchange(message, output);
  if (rill_session_length(here().session) == start) return answered;
  here().borders.push_back(start);
  if (answered) return Keep();
  const std::string why = error_;  // what comes first
  Keep();
  return Fail(why);
}

bool ChatSession::Exchange(const std::string& message, Output& output) {
  std::vector<int32_t> ids;
  if (!Render(message, ids)) return false;
  const rill_status status =
      rill_session_append(here().session, ids.data(), ids.size(), StopWhenInterrupted, nullptr);
  if (status == RILL_E_CANCELLED) return Written(output.End(nullptr, ids.size(), 0, ReadStats()));
  return Ok(status) && Answer(ids.size(), output);
}

bool ChatSession::Written(bool ok) {
  if (!ok) error_ = "cannot write to stdout";
  return ok;
}

rill_gen_params ChatSession::GenParams() const {
  rill_gen_params params;
  RILL_INIT(params);
  params.temperature = options_.temperature;
  params.top_k = options_.top_k;
  params.top_p = options_.top_p;
  params.min_p = options_.min_p;
  params.repeat_penalty = options_.repeat_penalty;
  params.seed = options_.seed;
  params.max_tokens = options_.max_tokens;
  return params;
}

bool ChatSession::Answer(size_t prompt_tokens, Output& output) {
  const rill_gen_params params = GenParams();
  rill_gen* gen = nullptr;
  if (!Ok(rill_gen_begin(here().session, &params, &gen))) return false;
  const bool ok = Stream(gen, prompt_tokens, output);
  rill_gen_end(gen);
  return ok;
}

bool ChatSession::Stream(rill_gen* gen, size_t prompt_tokens, Output& output) {
  rill_event event;
  RILL_INIT(event);
  for (uint64_t tokens = 0;; ++tokens) {
    if (Interrupted()) return Written(output.End(nullptr, prompt_tokens, tokens, ReadStats()));
    if (!Ok(rill_gen_next(gen, &event))) return false;
    if (event.kind == RILL_EVENT_END)
      return Written(output.End(&event, prompt_tokens, tokens, ReadStats()));
    if (!Written(output.Token(event))) return false;
  }
}

rill_stats ChatSession::ReadStats() const {
  rill_stats stats;
  RILL_INIT(stats);
  rill_session_get_stats(here().session, &stats);
  return stats;
}

std::string ChatSession::Stats() const {
  const rill_stats s = ReadStats();
  char text[512];
  std::snprintf(
      text, sizeof text,
      "context  %llu of %llu tokens\n"
      "prefill  %llu tokens, %.1f tokens/s\n"
      "decode   %llu tokens, %.1f tokens/s, first one of the last answer after %.0f ms\n"
      "memory   %.1f MB for this session, as planned: %s\n",
      static_cast<unsigned long long>(rill_session_length(here().session)),
      static_cast<unsigned long long>(here().max_tokens),
      static_cast<unsigned long long>(s.prefill_tokens), Rate(s.prefill_tokens, s.prefill_ns),
      static_cast<unsigned long long>(s.decode_tokens), Rate(s.decode_tokens, s.decode_ns),
      1e-6 * static_cast<double>(s.last_ttft_ns), 1e-6 * static_cast<double>(s.device_bytes),
      s.device_bytes == s.planned_bytes ? "yes" : "no");
  return text;
}

}  // namespace rill_chat
