// message_reader.h — what the user says next, from a terminal or from a pipe.
#pragma once

#include <optional>
#include <string>

namespace rill_chat {

// On a terminal it prompts on stderr; a line that ends in a backslash goes on in the next one, and
// a line """ starts a block that the next line """ ends. Elsewhere every line is a message as it
// stands. Blank messages are passed over.
class MessageReader {
 public:
  explicit MessageReader(bool terminal) : terminal_(terminal) {}

  // Nothing at the end of the input and after Ctrl-C.
  std::optional<std::string> Next();

 private:
  std::optional<std::string> ReadLine(const char* prompt);
  std::optional<std::string> ReadBlock();
  std::optional<std::string> ReadMessage();

  bool terminal_;
};

}  // namespace rill_chat
