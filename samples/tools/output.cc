#include "output.h"

#include <unistd.h>

#include <cstdio>

#include "nlohmann/json.hpp"

namespace rill_chat {
namespace {

using Json = nlohmann::ordered_json;

const char* FinishName(const rill_event* event) {
  if (event == nullptr) return "interrupted";
  switch (event->finish) {
    case RILL_FINISH_STOP_TOKEN:
      return "stop_token";
    case RILL_FINISH_STOP_STRING:
      return "stop_string";
    case RILL_FINISH_MAX_TOKENS:
      return "max_tokens";
    case RILL_FINISH_CONTEXT_FULL:
      return "context_full";
    default:
      return "none";
  }
}

double Rate(uint64_t tokens, int64_t nanos) {
  return nanos > 0 ? 1e9 * static_cast<double>(tokens) / static_cast<double>(nanos) : 0;
}

// What a model says must not move the cursor or rename the window.
std::string WithoutControls(const char* text, size_t n) {
  std::string clean;
  for (size_t i = 0; i < n; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    if (!control) clean += text[i];
  }
  return clean;
}

}  // namespace

Output::Output(bool json) : json_(json), terminal_(isatty(STDOUT_FILENO) != 0) {}

bool Output::Text(const char* text, size_t n) {
  const std::string shown = terminal_ ? WithoutControls(text, n) : std::string(text, n);
  open_line_ = open_line_ || !shown.empty();
  return std::fwrite(shown.data(), 1, shown.size(), stdout) == shown.size() &&
         std::fflush(stdout) == 0;
}

bool Output::Line(const std::string& line) {
  return std::fputs((line + "\n").c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
}

bool Output::Token(const rill_event& event) {
  if (!json_) return Text(event.text, event.text_len);
  return Line(Json{{"event", "token"},
                   {"id", event.id},
                   {"logprob", event.logprob},
                   {"position", event.position},
                   {"text", std::string(event.text, event.text_len)}}
                  .dump());
}

bool Output::End(const rill_event* event, uint64_t prompt_tokens, uint64_t tokens,
                 const rill_stats& stats) {
  const size_t n = event == nullptr ? 0 : event->text_len;
  const char* text = event == nullptr ? "" : event->text;
  if (!json_) {
    open_line_ = false;
    return Text(text, n) && Line("");
  }
  return Line(Json{{"event", "end"},
                   {"text", std::string(text, n)},
                   {"finish", FinishName(event)},
                   {"prompt_tokens", prompt_tokens},
                   {"tokens", tokens},
                   {"first_token_ms", 1e-6 * static_cast<double>(stats.last_ttft_ns)},
                   {"prefill_tokens_per_second", Rate(stats.prefill_tokens, stats.prefill_ns)},
                   {"decode_tokens_per_second", Rate(stats.decode_tokens, stats.decode_ns)}}
                  .dump());
}

bool Output::Note(const std::string& text) {
  if (json_) return Line(Json{{"event", "note"}, {"text", text}}.dump());
  return std::fputs((text + "\n").c_str(), stderr) >= 0;
}

bool Output::Error(const std::string& message) {
  if (json_) return Line(Json{{"event", "error"}, {"message", message}}.dump());
  if (!open_line_) return true;
  open_line_ = false;
  return Line("");
}

}  // namespace rill_chat
