#include "sdk/tools/context_bench.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"
#include "sdk/tools/measure.h"
#include "sdk/tools/process_memory.h"
#include "sdk/tools/resident_files.h"

namespace rill::tools {

ContextBench::ContextBench(std::shared_ptr<const Model> model, const SessionsOptions& options,
                           const SyntheticSession& synthetic, const ScratchFolder& folder,
                           int64_t context)
    : model_(std::move(model)),
      device_(model_->device()),
      options_(options),
      synthetic_(synthetic),
      file_(folder / "session.rillstate"),
      turn_file_(folder / "turn.rillstate"),
      other_file_(folder / "other.rillstate") {
  point_.context = context;
}

absl::StatusOr<SessionsPoint> ContextBench::Run(const ColdStart& start) {
  RILL_RETURN_IF_ERROR(WriteFile(file_, point_.context, true));
  RILL_RETURN_IF_ERROR(MeasureLoads());
  RILL_RETURN_IF_ERROR(MeasureWarm());
  RILL_RETURN_IF_ERROR(MeasureCold(start));
  RILL_RETURN_IF_ERROR(MeasureSave());
  RILL_RETURN_IF_ERROR(MeasureRewinds());
  RILL_RETURN_IF_ERROR(MeasureFlushes());
  return std::move(point_);
}

void ContextBench::Say(const char* what) const {
  std::fprintf(stderr, "rill-bench: %lld tokens: %s\n", static_cast<long long>(point_.context),
               what);
}

absl::Status ContextBench::WriteFile(const std::string& path, int64_t tokens, bool history) const {
  return synthetic_.Write(path, static_cast<uint64_t>(tokens), history);
}

// Room for what is appended at the context, one piece at a time.
int64_t ContextBench::MaxTokens() const {
  return point_.context + std::max<int64_t>(1024, options_.probe_tokens + kTurnTokens);
}

absl::StatusOr<std::unique_ptr<Session>> ContextBench::Load(const std::string& path, bool lazy,
                                                            bool attach, FileSystem& fs) const {
  LoadParams params;
  params.max_tokens = MaxTokens();
  params.lazy = lazy;
  params.attach = attach;
  params.progress = StopOnInterrupt;
  return Session::Load(model_, fs, path, params);
}

absl::Status ContextBench::Append(Session& session, int64_t n) const {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = synthetic_.Id(session.length() + i);
  RILL_RETURN_IF_ERROR(session.Append(ids, StopOnInterrupt));
  return device_.Synchronize();
}

absl::Status ContextBench::Turn(Session& session) const {
  RILL_RETURN_IF_ERROR(Append(session, kTurnTokens));
  SamplingParams greedy;
  greedy.temperature = 0;
  return session.Sample(greedy).status();
}

absl::Status ContextBench::MeasureLoads() {
  FirstToken& first = point_.first_token;
  Say("turns after a load");
  RILL_RETURN_IF_ERROR(MeasureLoad(false, false, &point_.load.checked, &first.load));
  RILL_RETURN_IF_ERROR(MeasureLoad(true, true, &point_.load.disk, &first.disk_load));
  return MeasureLoad(true, false, &point_.load.lazy, &first.lazy_load);
}

absl::Status ContextBench::MeasureLoad(bool lazy, bool from_disk, Spread* load,
                                       Spread* first_token) {
  std::vector<double> loads, firsts;
  for (int i = 0; i < options_.repetitions; ++i) {
    if (from_disk) DropFromCache(file_);
    ResetPeakResident();
    const AccountGrowth account(device_);
    const uint64_t resident = ResidentBytes();
    std::unique_ptr<Session> session;
    const auto work = [&]() -> absl::Status {
      RILL_ASSIGN_OR_RETURN(session, Load(file_, lazy));
      return device_.Synchronize();
    };
    RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options_.clock, work));
    RILL_ASSIGN_OR_RETURN(const double turn,
                          SecondsOf(*options_.clock, [&] { return Turn(*session); }));
    loads.push_back(seconds);
    firsts.push_back(seconds + turn);
    point_.memory = {session->plan().total(), account.now(), account.peak(),
                     Growth(resident, PeakResidentBytes())};
  }
  *load = SpreadOf(std::move(loads));
  *first_token = SpreadOf(std::move(firsts));
  return absl::OkStatus();
}

// A session whose pages lie in memory of its own kind, as after a prefill.
absl::Status ContextBench::MeasureWarm() {
  Say("turns, forks and snapshots in memory");
  ResidentFileSystem resident(*FileSystem::Posix(), device_);
  FileSystem& fs = device_.is_host() ? static_cast<FileSystem&>(resident) : *FileSystem::Posix();
  RILL_ASSIGN_OR_RETURN(const auto session, Load(file_, true, false, fs));
  RILL_RETURN_IF_ERROR(MeasureTurns(*session));
  Say("rate of prefill");
  const auto probe = [&] { return Append(*session, options_.probe_tokens); };
  RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options_.clock, probe));
  point_.prefill_seconds_per_token = seconds / static_cast<double>(options_.probe_tokens);
  return absl::OkStatus();
}

absl::Status ContextBench::MeasureTurns(Session& session) {
  std::vector<double> turns, snapshots, restores;
  std::shared_ptr<const Snapshot> snapshot;
  const auto take = [&]() -> absl::Status {
    RILL_ASSIGN_OR_RETURN(snapshot, session.TakeSnapshot());
    return absl::OkStatus();
  };
  const auto restore = [&]() -> absl::Status {
    RILL_RETURN_IF_ERROR(session.Restore(*snapshot));
    return device_.Synchronize();
  };
  for (int i = 0; i <= options_.repetitions; ++i) {
    RILL_ASSIGN_OR_RETURN(const double taken, SecondsOf(*options_.clock, take));
    RILL_ASSIGN_OR_RETURN(const double turn,
                          SecondsOf(*options_.clock, [&] { return Turn(session); }));
    if (i == options_.repetitions) RILL_RETURN_IF_ERROR(MeasureForks(session));
    RILL_ASSIGN_OR_RETURN(const double back, SecondsOf(*options_.clock, restore));
    if (i == 0) continue;  // found its memory cold
    snapshots.push_back(taken);
    turns.push_back(turn);
    restores.push_back(back);
  }
  point_.first_token.warm = SpreadOf(std::move(turns));
  point_.snapshot = SpreadOf(std::move(snapshots));
  point_.restore = SpreadOf(std::move(restores));
  return absl::OkStatus();
}

// In the middle of a page, so that the first step has to copy it.
absl::Status ContextBench::MeasureForks(Session& session) {
  std::vector<double> seconds;
  for (int i = 0; i < options_.repetitions; ++i)
    RILL_RETURN_IF_ERROR(MeasureFork(session, &seconds));
  point_.fork.seconds = SpreadOf(std::move(seconds));
  return absl::OkStatus();
}

absl::Status ContextBench::MeasureFork(Session& session, std::vector<double>* seconds) {
  ForkCost& cost = point_.fork;
  const AccountGrowth account(device_);
  const uint64_t before = AnonymousBytes();
  std::unique_ptr<Session> fork;
  const auto work = [&]() -> absl::Status {
    RILL_ASSIGN_OR_RETURN(fork, session.Fork());
    return absl::OkStatus();
  };
  RILL_ASSIGN_OR_RETURN(const double taken, SecondsOf(*options_.clock, work));
  cost.reserved = account.now();
  cost.resident = std::max(cost.resident, Growth(before, AnonymousBytes()));
  RILL_RETURN_IF_ERROR(fork->Step(synthetic_.Id(fork->length())));
  cost.resident_stepped = std::max(cost.resident_stepped, Growth(before, AnonymousBytes()));
  seconds->push_back(taken);
  return absl::OkStatus();
}

// A token costs more the further it stands, by a straight line: the mean of first and last.
absl::Status ContextBench::MeasureCold(const ColdStart& start) {
  FirstToken& first = point_.first_token;
  Measured& cold = first.cold;
  if (start.tokens <= point_.context)
    first.cold_tokens = start.tokens, first.cold_at_least = start.seconds;
  const double mean = (start.seconds_per_token + point_.prefill_seconds_per_token) / 2;
  const double projected = mean * static_cast<double>(point_.context + kTurnTokens);
  cold = {{projected, projected, projected}, true};
  if (projected > options_.limit_seconds) return absl::OkStatus();
  Say("prefill of everything");
  SessionShape shape;
  shape.max_tokens = MaxTokens();
  shape.prefill_chunk = options_.prefill_chunk;
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(model_, shape));
  const auto work = [&]() -> absl::Status {
    RILL_RETURN_IF_ERROR(Append(*session, point_.context));
    return Turn(*session);
  };
  RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options_.clock, work));
  cold = {{seconds, seconds, seconds}, false};
  first.cold_tokens = point_.context + kTurnTokens;
  first.cold_at_least = seconds;
  return absl::OkStatus();
}

}  // namespace rill::tools
