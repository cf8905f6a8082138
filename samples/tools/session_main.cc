// rill-session — looks into session files: inspect, verify, compact, diff. Exit codes: 0 done, 1
// usage, 2 failure.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "interrupt.h"
#include "rill/rill.h"
#include "session_options.h"
#include "session_report.h"

namespace rill_session_tool {
namespace {

using rill_chat::Interrupted;

// The failure's sentence, after the file's name where it does not say it.
int Fail(const std::string& file = "") {
  char text[512];
  rill_last_error(text, sizeof text);
  const std::string why = text;
  const std::string name = why.find(file) == std::string::npos ? file + ": " : "";
  std::fprintf(stderr, "rill-session: %s%s\n", name.c_str(), why.c_str());
  return kFailure;
}

int Print(std::string text) {
  if (text.back() != '\n') text += '\n';
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return kDone;
  std::fputs("rill-session: cannot write to stdout\n", stderr);
  return kFailure;
}

// Nonzero on Ctrl-C. `terminal` is null where nobody watches.
int32_t ShowProgress(void* terminal, uint64_t done, uint64_t total) {
  if (terminal != nullptr && total > 0)
    std::fprintf(stderr, "\r%3.0f %%",
                 100.0 * static_cast<double>(done) / static_cast<double>(total));
  return Interrupted();
}

void* Watcher() {
  static char there;
  return isatty(STDERR_FILENO) != 0 ? &there : nullptr;
}

void EndProgress() {
  if (Watcher() != nullptr) std::fputs("\r     \r", stderr);
}

bool Inspect(const std::string& file, rill_file_info& info) {
  RILL_INIT(info);
  return rill_file_inspect(file.data(), file.size(), &info) == RILL_OK;
}

int RunInspect(const Options& options) {
  const std::string& file = options.files[0];
  rill_file_info info;
  return Inspect(file, info) ? Print(Describe(file, info, options.json)) : Fail(file);
}

// All are looked at, whatever one of them is.
int RunVerify(const Options& options) {
  int exit_code = kDone;
  for (const std::string& file : options.files) {
    const rill_status status = rill_file_verify(file.data(), file.size(), ShowProgress, Watcher());
    EndProgress();
    const int code = status == RILL_OK ? Print(DescribeVerified(file, options.json)) : Fail(file);
    if (code != kDone) exit_code = code;
    if (Interrupted()) break;
  }
  return exit_code;
}

int RunCompact(const Options& options) {
  const std::string& from = options.files[0];
  const std::string& to = options.output.empty() ? from : options.output;
  rill_file_info before;
  if (!Inspect(from, before)) return Fail(from);
  rill_save_params params;
  RILL_INIT(params);
  params.parts = options.bare ? RILL_SAVE_BARE : 0;
  params.progress = ShowProgress;
  params.progress_ud = Watcher();
  rill_save_report report;
  RILL_INIT(report);
  const rill_status status =
      rill_file_compact(from.data(), from.size(), to.data(), to.size(), &params, &report);
  EndProgress();
  if (status != RILL_OK) return Fail();
  return Print(Describe(to, before.file_bytes, report, options.json));
}

int RunDiff(const Options& options) {
  const std::string &a = options.files[0], &b = options.files[1];
  rill_file_difference difference;
  RILL_INIT(difference);
  if (rill_file_diff(a.data(), a.size(), b.data(), b.size(), &difference) != RILL_OK) return Fail();
  return Print(Describe(a, b, difference, options.json));
}

int Run(const Options& options) {
  if (!rill_chat::CatchInterrupts()) {
    std::fputs("rill-session: cannot catch interrupts: no descriptors left\n", stderr);
    return kFailure;
  }
  switch (options.command) {
    case Command::kInspect:
      return RunInspect(options);
    case Command::kVerify:
      return RunVerify(options);
    case Command::kCompact:
      return RunCompact(options);
    case Command::kDiff:
      return RunDiff(options);
  }
  return kUsage;
}

}  // namespace
}  // namespace rill_session_tool

int main(int argc, char** argv) {
  rill_session_tool::Options options;
  if (const auto code = rill_session_tool::ParseCommandLine(argc, argv, options)) return *code;
  return rill_session_tool::Run(options);
}
