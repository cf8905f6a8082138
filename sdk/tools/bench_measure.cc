#include <algorithm>
#include <utility>

#include "kernels/base/clock.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "model/convert/progress.h"
#include "sdk/session.h"
#include "sdk/tools/bench.h"
#include "sdk/tools/load_model.h"

namespace rill::tools {
namespace {

constexpr int64_t kWarmUpTokens = 8;

class Bench {
 public:
  Bench(Session& session, const BenchOptions& options) : session_(session), options_(options) {}

  absl::Status WarmUp() {
    RILL_RETURN_IF_ERROR(Append(kWarmUpTokens));
    RILL_RETURN_IF_ERROR(DecodeOne());
    return session_.Reset();
  }

  // Stands at `context` afterwards; goes on from where the session is when it can.
  absl::Status Fill(int64_t context) {
    const auto target = static_cast<uint64_t>(context);
    if (session_.length() > target) RILL_RETURN_IF_ERROR(session_.Reset());
    const auto missing = static_cast<int64_t>(target - session_.length());
    return missing > 0 ? Append(missing) : absl::OkStatus();
  }

  absl::StatusOr<Spread> Decode() {
    return Repeat(options_.decode_tokens, [this]() -> absl::Status {
      for (int64_t i = 0; i < options_.decode_tokens; ++i) RILL_RETURN_IF_ERROR(DecodeOne());
      return absl::OkStatus();
    });
  }

  absl::StatusOr<Spread> Prefill() {
    return Repeat(options_.prefill_tokens, [this] { return Append(options_.prefill_tokens); });
  }

  StepBytes Bytes(uint64_t begin, uint64_t end) const {
    const SessionPlan& plan = session_.plan();
    return {session_.stats().weight_bytes_per_token, 2 * plan.state_bytes,
            plan.cache_bytes_per_token * ((begin + end) / 2)};
  }

 private:
  int32_t NextId() {
    const auto vocab = static_cast<float>(session_.model().config().vocab_size);
    return static_cast<int32_t>(PhiloxUniform(options_.seed, drawn_++) * vocab);
  }

  absl::Status Append(int64_t n) {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = NextId();
    ProgressBar bar(stderr, "rill-bench: prefill", "tokens", ProgressBar::Style::kAuto);
    RILL_RETURN_IF_ERROR(session_.Append(ids, [&bar, this](uint64_t done, uint64_t total) {
      if (Long(total)) bar.Update(done, total);
      return Interrupted();
    }));
    return session_.model().device().Synchronize();
  }

  bool Long(uint64_t n) const { return n > static_cast<uint64_t>(options_.prefill_tokens); }

  absl::Status DecodeOne() {
    if (Interrupted()) return absl::CancelledError("interrupted");
    RILL_RETURN_IF_ERROR(session_.Step(NextId()));
    SamplingParams greedy;
    greedy.temperature = 0;
    return session_.Sample(greedy).status();
  }

  template <typename F>
  absl::StatusOr<Spread> Repeat(int64_t tokens, F&& once) {
    std::vector<double> seconds;
    for (int i = 0; i < options_.repetitions; ++i) {
      const int64_t start = Clock::Steady()->NowNanos();
      RILL_RETURN_IF_ERROR(once());
      const int64_t nanos = Clock::Steady()->NowNanos() - start;
      seconds.push_back(1e-9 * static_cast<double>(nanos) / static_cast<double>(tokens));
    }
    return SpreadOf(std::move(seconds));
  }

  Session& session_;
  const BenchOptions& options_;
  uint64_t drawn_ = 0;
};

absl::StatusOr<BenchPoint> MeasurePoint(Bench& bench, Session& session, const BenchOptions& options,
                                        int64_t context) {
  BenchPoint point;
  point.context = context;
  RILL_RETURN_IF_ERROR(bench.Fill(context));
  if (options.decode_tokens > 0) {
    point.decode_begin = session.length();
    RILL_ASSIGN_OR_RETURN(point.decode, bench.Decode());
    point.decode_end = session.length();
    point.bytes = bench.Bytes(point.decode_begin, point.decode_end);
  }
  if (options.prefill_tokens > 0) {
    RILL_RETURN_IF_ERROR(bench.Fill(context));
    point.prefill_begin = session.length();
    RILL_ASSIGN_OR_RETURN(point.prefill, bench.Prefill());
    point.prefill_end = session.length();
  }
  return point;
}

SessionShape ShapeFor(const BenchOptions& options) {
  const int64_t measured =
      options.repetitions * std::max(options.decode_tokens, options.prefill_tokens);
  SessionShape shape;
  shape.max_tokens = options.contexts.back() + std::max(measured, kWarmUpTokens + 1);
  shape.prefill_chunk = options.prefill_chunk;
  return shape;
}

}  // namespace

absl::StatusOr<BenchResult> Measure(std::shared_ptr<const Model> model,
                                    const BenchOptions& options) {
  const DeviceInfo& device = model->device().info();
  BenchResult result;
  result.recipe = model->recipe().name;
  result.device = absl::StrCat(device.name, ": ", device.description);
  result.processor = ProcessorName();
  result.threads = device.n_threads;
  result.weight_bytes = model->weight_bytes();
  RILL_ASSIGN_OR_RETURN(result.bandwidth, MeasureBandwidth(model->device()));
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(model, ShapeFor(options)));
  result.session_bytes = session->plan().total();
  Bench bench(*session, options);
  RILL_RETURN_IF_ERROR(bench.WarmUp());
  for (const int64_t context : options.contexts) {
    RILL_ASSIGN_OR_RETURN(BenchPoint point, MeasurePoint(bench, *session, options, context));
    result.points.push_back(point);
  }
  return result;
}

}  // namespace rill::tools
