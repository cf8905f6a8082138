#include "chat_commands.h"

#include <cstdio>
#include <cstdlib>

namespace rill_chat {
namespace {

constexpr char kHelp[] =
    "/save FILE    write the conversation to a file\n"
    "/load FILE    go on with the conversation in a file instead of this one\n"
    "/rewind [N]   take back the last N messages and their answers; 1 without N\n"
    "/fork         branch off here and go on in the new branch\n"
    "/branches     list the branches; * is the one you are in\n"
    "/branch N     go to branch N\n"
    "/stats        tokens, speed, memory\n"
    "/reset        forget the conversation\n"
    "/help         this\n"
    "/quit         leave (also Ctrl-D, or Ctrl-C at the prompt)\n"
    "With --resume FILE that file always holds the branch you are in.\n"
    "A line that ends in \\ goes on in the next one; a line \"\"\" starts and ends a block.\n"
    "Ctrl-C stops an answer; the conversation goes on from there.\n";

struct Line {
  std::string name, argument;
};

Line Split(const std::string& text) {
  const size_t space = text.find_first_of(" \t");
  if (space == std::string::npos) return {text, ""};
  const size_t begin = text.find_first_not_of(" \t", space);
  if (begin == std::string::npos) return {text.substr(0, space), ""};
  const size_t end = text.find_last_not_of(" \t");
  return {text.substr(0, space), text.substr(begin, end + 1 - begin)};
}

// At most six digits. False when it is no such number.
bool ReadNumber(const std::string& text, size_t& number) {
  if (text.empty() || text.size() > 6) return false;
  if (text.find_first_not_of("0123456789") != std::string::npos) return false;
  number = static_cast<size_t>(std::strtoul(text.c_str(), nullptr, 10));
  return true;
}

Command Refuse(const std::string& why) {
  std::fprintf(stderr, "rill-chat: %s\n", why.c_str());
  return Command::kFailed;
}

Command Told(bool ok, const ChatSession& chat, Output& output) {
  if (!ok) return Refuse(chat.error());
  return output.Note(chat.note()) ? Command::kDone : Refuse("cannot write to stdout");
}

Command Print(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  return Command::kDone;
}

Command ObeyNumbered(ChatSession& chat, Output& output, const Line& line) {
  size_t n = 1;
  const bool given = !line.argument.empty();
  if ((given || line.name == "/branch") && !ReadNumber(line.argument, n))
    return Refuse(line.name + ": a number, not \"" + line.argument + "\"");
  return Told(line.name == "/branch" ? chat.SwitchTo(n) : chat.Rewind(n), chat, output);
}

Command ObeyFile(ChatSession& chat, Output& output, const Line& line) {
  if (line.argument.empty()) return Refuse(line.name + ": which file?");
  return Told(line.name == "/save" ? chat.Save(line.argument) : chat.Load(line.argument), chat,
              output);
}

}  // namespace

Command Obey(ChatSession& chat, Output& output, const std::string& text) {
  if (text.front() != '/' || text.find('\n') != std::string::npos) return Command::kNone;
  const Line line = Split(text);
  if (line.name == "/save" || line.name == "/load") return ObeyFile(chat, output, line);
  if (line.name == "/rewind" || line.name == "/branch") return ObeyNumbered(chat, output, line);
  if (text == "/quit") return Command::kQuit;
  if (text == "/fork") return Told(chat.Fork(), chat, output);
  if (text == "/branches") return Print(chat.Branches());
  if (text == "/stats") return Print(chat.Stats());
  if (text == "/reset") return chat.Reset() ? Command::kDone : Refuse(chat.error());
  if (text == "/help") return Print(kHelp);
  Print("no command " + text + "\n");
  Print(kHelp);
  return Command::kFailed;
}

}  // namespace rill_chat
