// output.h — answers on stdout, as text or as one JSON object a line.
#pragma once

#include <string>

#include "rill/rill.h"

namespace rill_chat {

class Output {
 public:
  explicit Output(bool json);

  // All return false once stdout cannot be written.
  bool Token(const rill_event& event);
  // The end of an answer; `event` is null when it was stopped.
  bool End(const rill_event* event, uint64_t prompt_tokens, uint64_t tokens,
           const rill_stats& stats);
  // What a command did, for people: on stderr, or an object of its own.
  bool Note(const std::string& text);
  // An answer that failed. Text mode only ends the line: the message goes to stderr.
  bool Error(const std::string& message);

 private:
  bool Text(const char* text, size_t n);
  bool Line(const std::string& line);

  bool json_;
  bool terminal_;
  bool open_line_ = false;
};

}  // namespace rill_chat
