// chat_commands.h — what a line that begins with a slash does.
#pragma once

#include <string>

#include "chat_session.h"
#include "output.h"

namespace rill_chat {

enum class Command {
  kNone,  // the text is a message
  kDone,
  kFailed,  // it was said why
  kQuit,
};

Command Obey(ChatSession& chat, Output& output, const std::string& text);

}  // namespace rill_chat
