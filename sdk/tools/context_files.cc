#include <utility>

#include "kernels/base/status.h"
#include "kernels/ops/mla_cache.h"
#include "sdk/tools/context_bench.h"
#include "sdk/tools/measure.h"

namespace rill::tools {
namespace {

// Rows in the last page when the measured turn begins: so many that it fills as many pages as a
// turn of its length can.
constexpr int64_t kTurnBegin = 100;

}  // namespace

absl::Status ContextBench::MeasureSave() {
  Say("saves");
  RILL_ASSIGN_OR_RETURN(const auto session, Load(file_, true));
  SaveParams params;
  params.progress = StopOnInterrupt;
  std::vector<double> saves;
  const auto work = [&]() -> absl::Status {
    RILL_ASSIGN_OR_RETURN(const SaveReport report,
                          session->Save(*FileSystem::Posix(), other_file_, params));
    point_.file_bytes = report.file_bytes;
    return absl::OkStatus();
  };
  for (int i = 0; i < options_.repetitions; ++i) {
    RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options_.clock, work));
    saves.push_back(seconds);
  }
  point_.save = SpreadOf(std::move(saves));
  return absl::OkStatus();
}

// Ever further back in one session. Its first rewind reads the records of the last tokens; the last
// one ends where no checkpoint stands.
absl::Status ContextBench::MeasureRewinds() {
  Say("rewinds");
  std::vector<uint64_t> distances = {1, 1, 16, 64, 1024};
  while (2 * distances.back() > static_cast<uint64_t>(point_.context)) distances.pop_back();
  std::vector<RewindPoint> points(distances.size());
  std::vector<std::vector<double>> seconds(distances.size());
  for (int i = 0; i < options_.repetitions; ++i) {
    RILL_ASSIGN_OR_RETURN(const auto session, Load(file_, true));
    for (size_t d = 0; d < distances.size(); ++d) {
      points[d].back = distances[d];
      RILL_ASSIGN_OR_RETURN(const double taken, MeasureRewind(*session, &points[d]));
      seconds[d].push_back(taken);
    }
  }
  for (size_t d = 0; d < points.size(); ++d)
    points[d].time.seconds = SpreadOf(std::move(seconds[d]));
  point_.first_rewind = points[0].time;
  point_.rewinds.assign(points.begin() + 1, points.end());
  return absl::OkStatus();
}

absl::StatusOr<double> ContextBench::MeasureRewind(Session& session, RewindPoint* point) const {
  const uint64_t to = session.length() - point->back;
  RILL_ASSIGN_OR_RETURN(point->cost, session.CostOfRewind(to));
  const double projected =
      point_.prefill_seconds_per_token * static_cast<double>(point->cost.recomputed);
  point->time.projected = projected > options_.limit_seconds;
  if (point->time.projected) return projected;
  const auto work = [&]() -> absl::Status {
    RILL_RETURN_IF_ERROR(session.Rewind(to, StopOnInterrupt).status());
    return device_.Synchronize();
  };
  return SecondsOf(*options_.clock, work);
}

// The attached session of one file goes on to where the session of a longer file stands.
absl::Status ContextBench::MeasureFlushes() {
  Say("flushes of a turn");
  const int64_t begin = point_.context / kPageTokens * kPageTokens + kTurnBegin;
  RILL_RETURN_IF_ERROR(WriteFile(turn_file_, begin + kFlushTokens, false));
  RILL_RETURN_IF_ERROR(WriteFile(other_file_, begin, false));
  RILL_ASSIGN_OR_RETURN(std::unique_ptr<Session> longer, Load(turn_file_, true));
  RILL_ASSIGN_OR_RETURN(const auto after, longer->TakeSnapshot());
  longer.reset();
  RILL_ASSIGN_OR_RETURN(const auto session, Load(other_file_, true, true));
  RILL_ASSIGN_OR_RETURN(const auto before, session->TakeSnapshot());
  FlushCost& cost = point_.flush;
  RILL_ASSIGN_OR_RETURN(cost.none, MeasureFlush(*session, Durability::kNone, *before, *after));
  RILL_ASSIGN_OR_RETURN(cost.data, MeasureFlush(*session, Durability::kData, *before, *after));
  RILL_ASSIGN_OR_RETURN(cost.full, MeasureFlush(*session, Durability::kFull, *before, *after));
  return absl::OkStatus();
}

absl::StatusOr<Spread> ContextBench::MeasureFlush(Session& session, Durability durability,
                                                  const Snapshot& before, const Snapshot& after) {
  std::vector<double> flushes;
  const auto work = [&]() -> absl::Status {
    RILL_ASSIGN_OR_RETURN(point_.flush.bytes, session.Flush({durability, false, false, {}}));
    return absl::OkStatus();
  };
  for (int i = 0; i < options_.repetitions; ++i) {
    RILL_RETURN_IF_ERROR(session.Restore(after));
    RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options_.clock, work));
    flushes.push_back(seconds);
    RILL_RETURN_IF_ERROR(session.Restore(before));
    RILL_RETURN_IF_ERROR(session.Flush({Durability::kData, false, false, {}}).status());
  }
  return SpreadOf(std::move(flushes));
}

}  // namespace rill::tools
