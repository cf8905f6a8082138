// rill-bench — how fast a model decodes and reads a prompt, against what the memory of the same
// machine gives. Exit codes: 0 done, 1 usage, 2 failure.
#include <algorithm>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "sdk/tools/bench.h"
#include "sdk/tools/load_model.h"

namespace {

using rill::tools::kUsage;

struct Arguments {
  std::string model, synthetic, format = "q4", device = "cpu";
  int64_t experts = 256;
  int threads = 0;
  bool json = false;
  rill::tools::BenchOptions bench;
};

void DeclareModel(CLI::App& app, Arguments& args) {
  CLI::Option* model = app.add_option("--model", args.model, "A *.rill file");
  CLI::Option* synthetic =
      app.add_option("--synthetic", args.synthetic, "A shape with random weights instead: 48b")
          ->check(CLI::IsMember({"48b"}))
          ->excludes(model);
  app.add_option("--experts", args.experts, "Experts per layer of the synthetic model")
      ->check(CLI::Range(8, 256))
      ->needs(synthetic)
      ->capture_default_str();
  app.add_option("--format", args.format, "Weights of the synthetic model: bf16, q8 or q4")
      ->check(CLI::IsMember({"bf16", "q8", "q4"}))
      ->needs(synthetic)
      ->capture_default_str();
}

void DeclareMeasurement(CLI::App& app, Arguments& args) {
  args.bench.contexts = {0};
  app.add_option("--device", args.device, "ref, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", args.threads, "Host threads, 0 for one per processor")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--context", args.bench.contexts, "Context lengths to measure at: 0,1024,16384")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  app.add_option("--tokens", args.bench.decode_tokens, "Tokens a decode repetition, 0 for none")
      ->check(CLI::Range(0, 1 << 16))
      ->capture_default_str();
  app.add_option("--prefill", args.bench.prefill_tokens, "Tokens a prefill repetition, 0 for none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--prefill-chunk", args.bench.prefill_chunk, "Tokens of one prefill pass")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--repetitions", args.bench.repetitions, "Repetitions; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", args.bench.seed, "Of the token ids and of synthetic weights")
      ->capture_default_str();
  app.add_flag("--json", args.json, "Print the result as JSON");
}

absl::StatusOr<std::shared_ptr<const rill::Model>> MakeModel(const Arguments& args) {
  if (!args.model.empty())
    return rill::tools::LoadModel("rill-bench", args.model, args.device, args.threads);
  const auto recipe = rill::MakeRecipe(args.format);
  if (!recipe.ok()) return recipe.status();
  rill::ModelOptions options;
  options.device = args.device;
  options.n_threads = args.threads;
  return rill::Model::Synthesize(rill::KimiLinear48B(args.experts), *recipe, args.bench.seed,
                                 options);
}

absl::Status Run(Arguments& args) {
  auto model = MakeModel(args);
  if (!model.ok()) return model.status();
  std::sort(args.bench.contexts.begin(), args.bench.contexts.end());
  auto result = rill::tools::Measure(*std::move(model), args.bench);
  if (!result.ok()) return result.status();
  result->model = args.model.empty()
                      ? absl::StrCat("synthetic 48b shape, ", args.experts, " experts a layer")
                      : args.model;
  return rill::tools::Print(args.json ? rill::tools::BenchJson(*result)
                                      : rill::tools::BenchText(*result));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures decode and prefill against the memory bandwidth of the same run.",
               "rill-bench");
  Arguments args;
  DeclareModel(app, args);
  DeclareMeasurement(app, args);
  app.footer("Exit codes: 0 done, 1 wrong usage, 2 failure (one line on stderr).");
  try {
    app.parse(argc, argv);
    if (args.model.empty() == args.synthetic.empty())
      throw CLI::RequiredError("one of --model and --synthetic");
    if (args.bench.decode_tokens == 0 && args.bench.prefill_tokens == 0)
      throw CLI::ValidationError("--tokens and --prefill are both 0: nothing to measure");
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  }
  rill::tools::CatchInterrupts();
  const absl::Status status = Run(args);
  return status.ok() ? 0 : rill::tools::Fail("rill-bench", status);
}
