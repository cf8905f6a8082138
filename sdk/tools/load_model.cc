#include "sdk/tools/load_model.h"

#include <csignal>
#include <cstdio>

#include "model/convert/progress.h"

namespace rill::tools {
namespace {

volatile std::sig_atomic_t interrupted = 0;

}  // namespace

int Fail(const char* tool, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", tool, std::string(status.message()).c_str());
  return kFailure;
}

void CatchInterrupts() {
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
}

bool Interrupted() { return interrupted != 0; }

absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const char* tool, const std::string& path,
                                                       const std::string& device, int threads) {
  ProgressBar bar(stderr, std::string(tool) + ": load", "B");
  ModelOptions options;
  options.device = device;
  options.n_threads = threads;
  options.progress = [&bar](uint64_t done, uint64_t total) {
    bar.Update(done, total);
    return Interrupted();
  };
  return Model::Open(*FileSystem::Posix(), path, options);
}

absl::Status Print(const std::string& text) {
  const bool ok = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return ok ? absl::OkStatus() : absl::DataLossError("cannot write to stdout");
}

}  // namespace rill::tools
