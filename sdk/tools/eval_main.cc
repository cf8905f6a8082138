// rill-eval — what a model computes, exactly: logits of every token, perplexity of a text. Exit
// codes: 0 done, 1 usage, 2 failure.
#include <cmath>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "sdk/tools/eval.h"
#include "sdk/tools/load_model.h"

namespace {

using rill::tools::kUsage;

struct Arguments {
  std::string model, device = "cpu", mla_dtype = "f32";
  int threads = 0;
  int64_t prefill_chunk = 256;
  bool json = false;
  rill::tools::LogitsOptions logits;
  rill::tools::PerplexityOptions perplexity;
};

void DeclareCommon(CLI::App& app, Arguments& args) {
  app.add_option("--model", args.model, "The *.rill file")->required();
  app.add_option("--device", args.device, "ref (plain loops), cpu, cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--threads", args.threads, "Host threads, 0 for one per processor")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--mla-dtype", args.mla_dtype, "Attention cache rows: f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--prefill-chunk", args.prefill_chunk, "Tokens of one prefill pass")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

CLI::App* DeclareLogits(CLI::App& app, Arguments& args) {
  CLI::App* command = app.add_subcommand("logits", "Write the logits after every token");
  DeclareCommon(*command, args);
  command->add_option("--ids", args.logits.ids_path, "Token ids, decimal, between white space")
      ->required();
  command
      ->add_option("--prefill", args.logits.prefill,
                   "Feed the first N tokens in one call and the others one by one; all in one call "
                   "when absent")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--out", args.logits.out_path,
                   "Rows of float32, little-endian: one row of vocabulary size per token")
      ->required();
  return command;
}

CLI::App* DeclarePerplexity(CLI::App& app, Arguments& args) {
  CLI::App* command = app.add_subcommand("perplexity", "Measure the perplexity of a text");
  DeclareCommon(*command, args);
  command->add_option("--text", args.perplexity.text_path, "UTF-8 text")->required();
  command
      ->add_option("--window", args.perplexity.window,
                   "Tokens of a window; each starts afresh and does not score its first token")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_flag("--json", args.json, "Print the result as JSON");
  return command;
}

std::string PerplexityText(const rill::tools::Perplexity& p, bool json) {
  const double perplexity = std::exp(p.mean_nll);
  if (!json) {
    return absl::StrFormat(
        "perplexity %.4f (%.5f nats per token; %d of %d tokens scored in %d windows, %d bytes)\n",
        perplexity, p.mean_nll, p.scored, p.tokens, p.windows, p.text_bytes);
  }
  return nlohmann::json{{"perplexity", perplexity}, {"mean_nll", p.mean_nll},
                        {"tokens", p.tokens},       {"scored_tokens", p.scored},
                        {"windows", p.windows},     {"text_bytes", p.text_bytes}}
             .dump() +
         "\n";
}

absl::Status Run(Arguments& args, bool logits) {
  auto model = rill::tools::LoadModel("rill-eval", args.model, args.device, args.threads);
  if (!model.ok()) return model.status();
  const rill::tools::EvalOptions common{
      args.mla_dtype == "f32" ? rill::DType::kF32 : rill::DType::kBf16, args.prefill_chunk};
  if (logits) {
    static_cast<rill::tools::EvalOptions&>(args.logits) = common;
    return rill::tools::WriteLogits(*std::move(model), args.logits);
  }
  static_cast<rill::tools::EvalOptions&>(args.perplexity) = common;
  const auto result = rill::tools::MeasurePerplexity(*std::move(model), args.perplexity);
  if (!result.ok()) return result.status();
  return rill::tools::Print(PerplexityText(*result, args.json));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Shows what a Rill model computes.", "rill-eval");
  Arguments args;
  const CLI::App* logits = DeclareLogits(app, args);
  DeclarePerplexity(app, args);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 wrong usage, 2 failure (one line on stderr, no file left behind).");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  }
  rill::tools::CatchInterrupts();
  const absl::Status status = Run(args, logits->parsed());
  return status.ok() ? 0 : rill::tools::Fail("rill-eval", status);
}
