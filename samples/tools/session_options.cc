#include "session_options.h"

#include "CLI/CLI.hpp"

namespace rill_session_tool {
namespace {

CLI::App* Add(CLI::App& app, Options& o, Command command, const char* name, const char* what) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->callback([&o, command] { o.command = command; });
  sub->add_flag("--json", o.json, "One JSON object a file");
  return sub;
}

void Declare(CLI::App& app, Options& o) {
  Add(app, o, Command::kInspect, "inspect", "Say what a file is; no model is needed")
      ->add_option("FILE", o.files)
      ->required()
      ->expected(1);
  Add(app, o, Command::kVerify, "verify", "Read every byte of files and check it")
      ->add_option("FILE", o.files)
      ->required();
  CLI::App* compact =
      Add(app, o, Command::kCompact, "compact", "Give back the room of what was superseded");
  compact->add_option("FILE", o.files)->required()->expected(1);
  compact->add_option("-o,--output", o.output, "Write there; without it FILE is replaced");
  compact->add_flag("--bare", o.bare, "Leave out what only makes rewinds quick");
  Add(app, o, Command::kDiff, "diff", "Say how the sessions of two files differ")
      ->add_option("FILE", o.files, "Two of them")
      ->required()
      ->expected(2);
  app.require_subcommand(1);
  app.footer(
      "A file that a program is attached to can be inspected and verified, not compacted.\n"
      "Exit codes: 0 done, 1 wrong usage, 2 failure or damage (one line on stderr).");
}

}  // namespace

std::optional<int> ParseCommandLine(int argc, char** argv, Options& options) {
  CLI::App app("Looks into the session files of Rill (*.rillstate).", "rill-session");
  Declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kDone : kUsage;
  }
  return std::nullopt;
}

}  // namespace rill_session_tool
