#include "chat_options.h"

#include "CLI/CLI.hpp"

namespace rill_chat {
namespace {

void DeclareSampling(CLI::App& app, Options& o) {
  const std::string group = "Sampling";
  app.add_option("--temperature", o.temperature, "0 takes the likeliest token every time")
      ->check(CLI::Range(0.0f, 100.0f))
      ->capture_default_str()
      ->group(group);
  app.add_option("--top-k", o.top_k, "Only the K likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--top-p", o.top_p, "Only the likeliest tokens that sum to P; 1: all")
      ->check(CLI::Range(0.0f, 1.0f))
      ->group(group);
  app.add_option("--min-p", o.min_p, "Only tokens with at least P times the best one's probability")
      ->check(CLI::Range(0.0f, 1.0f))
      ->group(group);
  app.add_option("--repeat-penalty", o.repeat_penalty, "Above 1 makes repeated tokens less likely")
      ->check(CLI::Range(0.0f, 100.0f))
      ->group(group);
  app.add_option("--seed", o.seed, "The same seed gives the same answers")
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-tokens", o.max_tokens, "Longest answer; 0: until it ends")
      ->capture_default_str()
      ->group(group);
}

void Declare(CLI::App& app, Options& o) {
  app.add_option("--model", o.model, "The *.rill file")->required();
  app.add_option("--prompt", o.prompt, "Answer this and exit");
  app.add_option("--system", o.system, "A system message that opens the conversation");
  app.add_option("--device", o.device, "cpu, ref (plain loops), cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--threads", o.threads, "Host threads, 0 for one per processor")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--context", o.context, "Tokens the conversation has room for")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 24))
      ->default_str(std::to_string(kDefaultContext) + ", or as saved");
  app.add_option("--resume", o.resume,
                 "A *.rillstate file to go on with, made when there is none; it holds the "
                 "conversation after every answer");
  app.add_flag("--commands", o.commands, "Lines that begin with / are commands in a pipe too");
  app.add_flag("--json", o.json, "One JSON object a line: every token, then the end of the answer");
  DeclareSampling(app, o);
  app.footer(
      "On a terminal: /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.\n"
      "Elsewhere every line of stdin is a message; only the answers go to stdout.\n"
      "--resume FILE: what was resumed is said on stderr; the file fits the same model only.\n"
      "Exit codes: 0 done, 1 wrong usage, 2 failure (one line on stderr).");
}

}  // namespace

std::optional<int> ParseCommandLine(int argc, char** argv, Options& options) {
  CLI::App app("Talks to a Rill model.", "rill-chat");
  Declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kDone : kUsage;
  }
  return std::nullopt;
}

}  // namespace rill_chat
