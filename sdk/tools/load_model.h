// sdk/tools/load_model.h — what every tool does before its work: open a model and tell how far that
// is.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/model.h"

namespace rill::tools {

// Exit codes of every tool.
inline constexpr int kUsage = 1, kFailure = 2;

// One line on stderr, "rill-eval: message". Returns kFailure.
int Fail(const char* tool, const absl::Status& status);

// From now on Ctrl-C and SIGTERM ask for an orderly end, so that no half-written file stays behind.
void CatchInterrupts();
bool Interrupted();

// Opens a file with progress on stderr. Cancelled after an interrupt.
absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const char* tool, const std::string& path,
                                                       const std::string& device, int threads);

// Writes all of `text` to stdout. DataLoss for a full disk or a closed pipe.
absl::Status Print(const std::string& text);

}  // namespace rill::tools
