// message_reader.h — what the user says next, from a terminal or from a pipe.
#pragma once

#include <optional>
#include <string>

namespace rill_chat {

// Reads stdin past stdio, in whose buffer lines would hide from a wait for input. On a terminal it
// prompts on stderr; a line that ends in a backslash goes on in the next one, and a line """ starts
// a block that the next line """ ends. Elsewhere every line is a message as it stands. Blank
// messages are passed over.
class MessageReader {
 public:
  explicit MessageReader(bool terminal) : terminal_(terminal) {}

  // Nothing at the end of the input and after an interrupt, which it hears of at any moment.
  std::optional<std::string> Next();

 private:
  bool ReadMore();
  std::optional<std::string> ReadLine(const char* prompt);
  std::optional<std::string> ReadBlock();
  std::optional<std::string> ReadMessage();

  bool terminal_;
  std::string unread_;  // what came behind the last line
};

}  // namespace rill_chat
