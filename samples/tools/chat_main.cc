// rill-chat — a conversation with a model, on a terminal, in a pipe or for a single question. Exit
// codes: 0 done, 1 usage, 2 failure.
#include <unistd.h>

#include <cstdio>

#include "chat_commands.h"
#include "chat_options.h"
#include "chat_session.h"
#include "interrupt.h"
#include "message_reader.h"
#include "output.h"

namespace rill_chat {
namespace {

int Fail(const std::string& message) {
  std::fprintf(stderr, "rill-chat: %s\n", message.c_str());
  return kFailure;
}

bool Answer(ChatSession& chat, Output& output, const std::string& message) {
  if (chat.Say(message, output)) return true;
  output.Error(chat.error());
  Fail(chat.error());
  return false;
}

// Every message has to be answered and every command done; the first failure ends the program.
int AnswerAll(ChatSession& chat, Output& output, bool commands) {
  MessageReader reader(false);
  while (const auto message = reader.Next()) {
    const Command command = commands ? Obey(chat, output, *message) : Command::kNone;
    if (command == Command::kQuit) return kDone;
    if (command == Command::kFailed) return kFailure;
    if (command == Command::kNone && !Answer(chat, output, *message)) return kFailure;
    if (Interrupted()) return Fail("interrupted");
  }
  return Interrupted() ? Fail("interrupted") : kDone;
}

// A failure is shown and the conversation goes on: it stands where the last token left it.
int Converse(ChatSession& chat, Output& output) {
  MessageReader reader(true);
  while (const auto message = reader.Next()) {
    const Command command = Obey(chat, output, *message);
    if (command == Command::kQuit) return kDone;
    if (command == Command::kNone) Answer(chat, output, *message);
    if (Terminated()) return kDone;
    ForgetInterrupt();
  }
  std::fputs("\n", stderr);
  return kDone;
}

int Run(const Options& options) {
  if (!CatchInterrupts()) return Fail("cannot catch interrupts: no descriptors left");
  ChatSession chat(options);
  if (!chat.Open()) return Fail(chat.error());
  if (!chat.note().empty()) std::fprintf(stderr, "%s\n", chat.note().c_str());
  Output output(options.json);
  if (options.prompt)
    return Answer(chat, output, *options.prompt) && !Interrupted() ? kDone : kFailure;
  return isatty(STDIN_FILENO) != 0 ? Converse(chat, output)
                                   : AnswerAll(chat, output, options.commands);
}

}  // namespace
}  // namespace rill_chat

int main(int argc, char** argv) {
  rill_chat::Options options;
  if (const auto exit_code = rill_chat::ParseCommandLine(argc, argv, options)) return *exit_code;
  return rill_chat::Run(options);
}
