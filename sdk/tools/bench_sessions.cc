#include "sdk/tools/bench_sessions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "sdk/tools/context_bench.h"
#include "sdk/tools/machine.h"
#include "sdk/tools/measure.h"

namespace rill::tools {
namespace {

constexpr int64_t kWarmUpTokens = 8;

SessionShape ShapeFor(const SessionsOptions& options, int64_t max_tokens) {
  SessionShape shape;
  shape.max_tokens = max_tokens;
  shape.prefill_chunk = options.prefill_chunk;
  return shape;
}

absl::StatusOr<double> EmptyRate(std::shared_ptr<const Model> model, const SessionsOptions& options,
                                 const SyntheticSession& synthetic) {
  const int64_t n = options.probe_tokens;
  const SessionShape shape = ShapeFor(options, std::max(n, kWarmUpTokens));
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(model, shape));
  std::vector<int32_t> ids(static_cast<size_t>(shape.max_tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = synthetic.Id(i);
  const absl::Span<const int32_t> all = ids;
  RILL_RETURN_IF_ERROR(session->Append(all.subspan(0, kWarmUpTokens), StopOnInterrupt));
  RILL_RETURN_IF_ERROR(session->Reset());
  const auto work = [&]() -> absl::Status {
    RILL_RETURN_IF_ERROR(session->Append(all.subspan(0, static_cast<size_t>(n)), StopOnInterrupt));
    return model->device().Synchronize();
  };
  RILL_ASSIGN_OR_RETURN(const double seconds, SecondsOf(*options.clock, work));
  return seconds / static_cast<double>(n);
}

bool IsFullShape(const ModelConfig& config) {
  const ModelConfig full = KimiLinear48B();
  return config.n_kda_layers() == full.n_kda_layers() && config.kda_width() == full.kda_width() &&
         config.n_mla_layers() == full.n_mla_layers() && config.mla_row() == full.mla_row() &&
         config.vocab_size == full.vocab_size;
}

}  // namespace

absl::StatusOr<SessionsResult> MeasureSessions(std::shared_ptr<const Model> model,
                                               const SessionsOptions& options) {
  const DeviceInfo& device = model->device().info();
  SessionsResult result;
  result.recipe = model->recipe().name;
  result.device = absl::StrCat(device.name, ": ", device.description);
  result.processor = ProcessorName();
  result.threads = device.n_threads;
  result.processor_time = options.clock != Clock::Steady();
  result.weight_bytes = model->weight_bytes();
  result.full_shape = IsFullShape(model->config());
  RILL_ASSIGN_OR_RETURN(const ScratchFolder folder, ScratchFolder::Create(options.scratch));
  const SessionShape shape = ShapeFor(options, options.contexts.back());
  RILL_ASSIGN_OR_RETURN(
      const SyntheticSession synthetic,
      SyntheticSession::Create(model, shape, folder / "real.rillstate", options.seed));
  result.real_tokens = synthetic.real_tokens();
  RILL_ASSIGN_OR_RETURN(result.prefill_seconds_per_token, EmptyRate(model, options, synthetic));
  for (const int64_t context : options.contexts) {
    ContextBench bench(model, options, synthetic, folder, context);
    RILL_ASSIGN_OR_RETURN(SessionsPoint point, bench.Run(result.prefill_seconds_per_token));
    result.points.push_back(std::move(point));
  }
  return result;
}

}  // namespace rill::tools
