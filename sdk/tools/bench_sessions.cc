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

// In one session, so that the second part is what a prefill of both would go on with.
absl::StatusOr<ColdStart> MeasureColdStart(std::shared_ptr<const Model> model,
                                           const SessionsOptions& options,
                                           const SyntheticSession& synthetic) {
  const int64_t probe = options.probe_tokens, all = std::max(probe, options.cold_tokens);
  const SessionShape shape = ShapeFor(options, std::max(all, kWarmUpTokens));
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(model, shape));
  std::vector<int32_t> ids(static_cast<size_t>(shape.max_tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = synthetic.Id(i);
  RILL_RETURN_IF_ERROR(
      session->Append(absl::MakeConstSpan(ids.data(), kWarmUpTokens), StopOnInterrupt));
  RILL_RETURN_IF_ERROR(session->Reset());
  const auto append_to = [&](int64_t end) -> absl::Status {
    const auto begin = static_cast<int64_t>(session->length());
    const auto part = absl::MakeConstSpan(ids.data() + begin, static_cast<size_t>(end - begin));
    RILL_RETURN_IF_ERROR(session->Append(part, StopOnInterrupt));
    return model->device().Synchronize();
  };
  RILL_ASSIGN_OR_RETURN(const double first,
                        SecondsOf(*options.clock, [&] { return append_to(probe); }));
  RILL_ASSIGN_OR_RETURN(const double rest,
                        SecondsOf(*options.clock, [&] { return append_to(all); }));
  return ColdStart{first / static_cast<double>(probe), all, first + rest};
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
  RILL_ASSIGN_OR_RETURN(result.cold_start, MeasureColdStart(model, options, synthetic));
  for (const int64_t context : options.contexts) {
    ContextBench bench(model, options, synthetic, folder, context);
    RILL_ASSIGN_OR_RETURN(SessionsPoint point, bench.Run(result.cold_start));
    result.points.push_back(std::move(point));
  }
  return result;
}

}  // namespace rill::tools
