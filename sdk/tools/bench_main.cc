// rill-bench — how fast a model decodes and reads a prompt, against what the memory of the same
// machine gives; and what it costs to keep sessions. Exit codes: 0 done, 1 usage, 2 failure.
#include <algorithm>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "sdk/tools/bench.h"
#include "sdk/tools/bench_sessions.h"
#include "sdk/tools/load_model.h"
#include "sdk/tools/measure.h"

namespace {

using rill::tools::kUsage;

struct Arguments {
  std::string model, synthetic, format = "q4", device = "cpu";
  int64_t experts = 256;
  int threads = 0;
  bool json = false;
  rill::tools::BenchOptions bench;
  rill::tools::SessionsOptions sessions;
  rill::tools::ProcessorClock processor_clock;
  bool processor_time = false;
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

void DeclareMachine(CLI::App& app, Arguments& args) {
  app.add_option("--device", args.device, "ref, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", args.threads, "Host threads, 0 for one per processor")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--seed", args.bench.seed, "Of the token ids and of synthetic weights")
      ->capture_default_str();
  app.add_flag("--json", args.json, "Print the result as JSON");
}

void DeclareMeasurement(CLI::App& app, Arguments& args) {
  args.bench.contexts = {0};
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
  CLI::Option* random_rows =
      app.add_flag("--synthetic-context", args.bench.synthetic_context,
                   "Fill contexts with random cache rows instead of by prefill: minutes, not hours");
  app.add_option("--scratch", args.bench.scratch,
                 "Folder for their files, 8.2 kB a token of the 48b shape; default: the temporary one")
      ->needs(random_rows);
}

void DeclareSessions(CLI::App& app, Arguments& args) {
  rill::tools::SessionsOptions& o = args.sessions;
  o.contexts = {4096, 32768, 131072};
  app.add_option("--context", o.contexts, "Context lengths to measure at")
      ->delimiter(',')
      ->check(CLI::Range(16, 1 << 24))
      ->capture_default_str();
  app.add_option("--prefill-chunk", o.prefill_chunk, "Tokens of one prefill pass")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--repetitions", o.repetitions, "Repetitions; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--probe-tokens", o.probe_tokens, "Tokens the rate of a prefill is measured with")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option("--cold-tokens", o.cold_tokens,
                 "Tokens of a cold prefill that are measured where all would take too long, as a "
                 "bound from below; not fewer than those of the probe")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--cold-limit", o.limit_seconds,
                 "Seconds; a longer prefill is projected from that rate instead")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  app.add_flag("--processor-time", args.processor_time,
               "Count the processor's seconds: for a machine that others use, with --threads 1");
  app.add_option("--scratch", o.scratch,
                 "Folder for session files, 3.5 GB at 131072 tokens; default: the temporary one");
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

std::string NameOfModel(const Arguments& args) {
  if (!args.model.empty()) return args.model;
  return absl::StrCat("synthetic 48b shape, ", args.experts, " experts a layer");
}

absl::Status RunBench(Arguments& args, std::shared_ptr<const rill::Model> model) {
  std::sort(args.bench.contexts.begin(), args.bench.contexts.end());
  auto result = rill::tools::Measure(std::move(model), args.bench);
  if (!result.ok()) return result.status();
  result->model = NameOfModel(args);
  return rill::tools::Print(args.json ? rill::tools::BenchJson(*result)
                                      : rill::tools::BenchText(*result));
}

absl::Status RunSessions(Arguments& args, std::shared_ptr<const rill::Model> model) {
  std::sort(args.sessions.contexts.begin(), args.sessions.contexts.end());
  args.sessions.seed = args.bench.seed;
  if (args.processor_time) args.sessions.clock = &args.processor_clock;
  auto result = rill::tools::MeasureSessions(std::move(model), args.sessions);
  if (!result.ok()) return result.status();
  result->model = NameOfModel(args);
  return rill::tools::Print(args.json ? rill::tools::SessionsJson(*result)
                                      : rill::tools::SessionsText(*result));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures decode and prefill against the memory bandwidth of the same run.",
               "rill-bench");
  Arguments args;
  DeclareModel(app, args);
  DeclareMachine(app, args);
  DeclareMeasurement(app, args);
  CLI::App* sessions = app.add_subcommand(
      "sessions", "Measures what it costs to save, load, fork and rewind long sessions instead");
  DeclareModel(*sessions, args);
  DeclareMachine(*sessions, args);
  DeclareSessions(*sessions, args);
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
  auto model = MakeModel(args);
  absl::Status status = model.status();
  if (status.ok()) {
    status = sessions->parsed() ? RunSessions(args, *std::move(model))
                                : RunBench(args, *std::move(model));
  }
  return status.ok() ? 0 : rill::tools::Fail("rill-bench", status);
}
