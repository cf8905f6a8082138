#include "message_reader.h"

#include <cstdio>
#include <cstdlib>

#include "interrupt.h"

namespace rill_chat {
namespace {

constexpr char kFence[] = "\"\"\"";

bool IsBlank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

std::optional<std::string> MessageReader::ReadLine(const char* prompt) {
  if (terminal_) std::fputs(prompt, stderr);
  char* buffer = nullptr;
  size_t capacity = 0;
  const ssize_t n = getline(&buffer, &capacity, stdin);
  std::optional<std::string> line;
  if (n >= 0 && !Interrupted()) line.emplace(buffer, static_cast<size_t>(n));
  std::free(buffer);
  if (!line) return line;
  while (!line->empty() && (line->back() == '\n' || line->back() == '\r')) line->pop_back();
  return line;
}

std::optional<std::string> MessageReader::ReadBlock() {
  std::string block;
  for (;;) {
    const std::optional<std::string> line = ReadLine("... ");
    if (!line) return std::nullopt;
    if (*line == kFence) return block;
    if (!block.empty()) block += '\n';
    block += *line;
  }
}

std::optional<std::string> MessageReader::ReadMessage() {
  std::optional<std::string> line = ReadLine("> ");
  if (!line || !terminal_) return line;
  if (*line == kFence) return ReadBlock();
  std::string message;
  while (!line->empty() && line->back() == '\\') {
    line->back() = '\n';
    message += *line;
    line = ReadLine("... ");
    if (!line) return std::nullopt;
  }
  return message + *line;
}

std::optional<std::string> MessageReader::Next() {
  for (;;) {
    std::optional<std::string> message = ReadMessage();
    if (!message || !IsBlank(*message)) return message;
  }
}

}  // namespace rill_chat
