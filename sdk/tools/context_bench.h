// sdk/tools/context_bench.h — all that rill-bench measures of sessions at one context length.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sdk/session.h"
#include "sdk/snapshot.h"
#include "sdk/tools/bench_sessions.h"
#include "sdk/tools/scratch_folder.h"
#include "sdk/tools/synthetic_session.h"

namespace rill::tools {

class ContextBench {  // Borrows all but the model.
 public:
  ContextBench(std::shared_ptr<const Model> model, const SessionsOptions& options,
               const SyntheticSession& synthetic, const ScratchFolder& folder, int64_t context);

  absl::StatusOr<SessionsPoint> Run(const ColdStart& start);

 private:
  // context_bench.cc: in memory
  absl::Status MeasureLoads();
  absl::Status MeasureLoad(bool lazy, bool from_disk, Spread* load, Spread* first_token);
  absl::Status MeasureWarm();
  absl::Status MeasureTurns(Session& session);
  absl::Status MeasureForks(Session& session);
  absl::Status MeasureFork(Session& session, std::vector<double>* seconds);
  absl::Status MeasureCold(const ColdStart& start);

  // context_files.cc: files and rewinds
  absl::Status MeasureSave();
  absl::Status MeasureRewinds();
  absl::StatusOr<double> MeasureRewind(Session& session, RewindPoint* point) const;
  absl::Status MeasureFlushes();
  absl::StatusOr<Spread> MeasureFlush(Session& session, Durability durability,
                                      const Snapshot& before, const Snapshot& after);

  absl::Status WriteFile(const std::string& path, int64_t tokens, bool history) const;
  absl::StatusOr<std::unique_ptr<Session>> Load(const std::string& path, bool lazy,
                                                bool attach = false,
                                                FileSystem& fs = *FileSystem::Posix()) const;
  absl::Status Append(Session& session, int64_t n) const;
  absl::Status Turn(Session& session) const;
  int64_t MaxTokens() const;
  void Say(const char* what) const;

  const std::shared_ptr<const Model> model_;
  Device& device_;
  const SessionsOptions& options_;
  const SyntheticSession& synthetic_;
  const std::string file_, turn_file_, other_file_;
  SessionsPoint point_;
};

}  // namespace rill::tools
