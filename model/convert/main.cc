// rill-convert — a Hugging Face Kimi Linear checkpoint to a *.rill file. Exit codes: 0 done, 1
// usage, 2 failure.
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "model/convert/convert.h"
#include "model/convert/progress.h"
#include "model/convert/report.h"

namespace {

constexpr int kUsage = 1, kFailure = 2;

volatile std::sig_atomic_t interrupted = 0;

struct Arguments {
  rill::ConvertOptions options;
  bool plan = false;
  bool json = false;
};

void Declare(CLI::App& app, Arguments& args) {
  app.add_option("--input", args.options.input, "Folder with config.json and *.safetensors")
      ->required();
  app.add_option("--output", args.options.output,
                 "The *.rill file to write; not needed with --plan");
  app.add_option("--format", args.options.recipe, "bf16 (exact), q8 (8 bits) or q4 (4 bits)")
      ->required()
      ->check(CLI::IsMember({"bf16", "q8", "q4"}));
  app.add_option("--threads", args.options.threads, "Threads, 0 for one per processor")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_flag("--plan", args.plan,
               "Check the checkpoint, print tensors and sizes, and convert nothing");
  app.add_flag("--json", args.json, "Print plan or summary as JSON");
  app.footer(
      "Exit codes: 0 done, 1 wrong usage, 2 failure (one line on stderr, no file left behind).");
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "rill-convert: %s\n", std::string(status.message()).c_str());
  return kFailure;
}

void PrintNotes(const rill::ConvertPlan& plan) {
  for (const std::string& note : plan.notes)
    std::fprintf(stderr, "rill-convert: note: %s\n", note.c_str());
}

// A full disk or a closed pipe behind stdout is a failure too.
int Print(const std::string& text) {
  const bool ok = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return ok ? 0 : Fail(absl::DataLossError("cannot write to stdout"));
}

int Plan(const Arguments& args) {
  const auto plan = rill::PlanConversion(args.options, *rill::FileSystem::Posix());
  if (!plan.ok()) return Fail(plan.status());
  PrintNotes(*plan);
  return Print(args.json ? rill::PlanJson(*plan) : rill::PlanText(*plan));
}

int Convert(Arguments& args) {
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  auto bar = std::make_unique<rill::ProgressBar>(stderr, "rill-convert", "B");
  args.options.progress = [&bar](uint64_t done, uint64_t total) {
    bar->Update(done, total);
    return interrupted != 0;
  };
  const auto report = rill::Convert(args.options, *rill::FileSystem::Posix());
  bar.reset();
  if (!report.ok()) return Fail(report.status());
  PrintNotes(report->plan);
  return Print(args.json ? rill::ReportJson(*report, args.options.output)
                         : rill::ReportText(*report, args.options.output));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Converts a Hugging Face Kimi Linear checkpoint to a Rill model file.",
               "rill-convert");
  Arguments args;
  args.options.threads = 0;
  Declare(app, args);
  try {
    app.parse(argc, argv);
    if (!args.plan && args.options.output.empty()) throw CLI::RequiredError("--output");
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  }
  if (args.options.threads == 0)
    args.options.threads = static_cast<int>(std::thread::hardware_concurrency());
  return args.plan ? Plan(args) : Convert(args);
}
