#include "message_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "interrupt.h"

namespace rill_chat {
namespace {

constexpr char kFence[] = "\"\"\"";

bool IsBlank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

// False at the end of the input, after an interrupt, and where the input cannot be read.
bool MessageReader::ReadMore() {
  char bytes[4096];
  while (WaitForInput(STDIN_FILENO)) {
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n > 0) unread_.append(bytes, static_cast<size_t>(n));
    if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n > 0;
  }
  return false;
}

// The last line may lack its line feed.
std::optional<std::string> MessageReader::ReadLine(const char* prompt) {
  if (terminal_) std::fputs(prompt, stderr);
  size_t end = unread_.find('\n');
  while (end == std::string::npos) {
    const size_t searched = unread_.size();
    if (!ReadMore()) break;
    end = unread_.find('\n', searched);
  }
  if (Interrupted() || unread_.empty()) return std::nullopt;
  const size_t size = std::min(end, unread_.size());
  std::string line = unread_.substr(0, size);
  unread_.erase(0, size + 1);
  while (!line.empty() && line.back() == '\r') line.pop_back();
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
