#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/clock.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "model/convert/progress.h"
#include "sdk/session.h"
#include "sdk/tools/bench.h"
#include "sdk/tools/load_model.h"
#include "sdk/tools/measure.h"
#include "sdk/tools/scratch_folder.h"
#include "sdk/tools/synthetic_session.h"

namespace rill::tools {
namespace {

constexpr int64_t kWarmUpTokens = 8;

class Bench {
 public:
  Bench(std::shared_ptr<const Model> model, const BenchOptions& options, const SessionShape& shape)
      : model_(std::move(model)), options_(options), shape_(shape) {}

  absl::Status Open() {
    RILL_ASSIGN_OR_RETURN(session_, Session::Create(model_, shape_));
    return absl::OkStatus();
  }
  const Session& session() const { return *session_; }

  absl::Status WarmUp() {
    RILL_RETURN_IF_ERROR(Append(kWarmUpTokens));
    RILL_RETURN_IF_ERROR(DecodeOne());
    return session_->Reset();
  }

  // Stands at `context` afterwards; goes on from where the session is when it can.
  absl::Status Fill(int64_t context) {
    const auto target = static_cast<uint64_t>(context);
    if (session_->length() == target) return absl::OkStatus();
    if (options_.synthetic_context && context > 0) return LoadSynthetic(context);
    if (session_->length() > target) RILL_RETURN_IF_ERROR(session_->Reset());
    const auto missing = static_cast<int64_t>(target - session_->length());
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
    const SessionPlan& plan = session_->plan();
    return {session_->stats().weight_bytes_per_token, 2 * plan.state_bytes,
            plan.cache_bytes_per_token * ((begin + end) / 2)};
  }

 private:
  // The session before goes first: two long ones may be more than there is memory for.
  absl::Status LoadSynthetic(int64_t context) {
    if (!folder_) {
      RILL_ASSIGN_OR_RETURN(folder_, ScratchFolder::Create(options_.scratch));
      RILL_ASSIGN_OR_RETURN(
          synthetic_,
          SyntheticSession::Create(model_, shape_, *folder_ / "real.rillstate", options_.seed));
    }
    const std::string path = *folder_ / "context.rillstate";
    if (written_ != context) {
      RILL_RETURN_IF_ERROR(synthetic_->Write(path, static_cast<uint64_t>(context), false));
      written_ = context;
    }
    LoadParams params;
    params.max_tokens = shape_.max_tokens;
    params.progress = StopOnInterrupt;
    session_.reset();
    RILL_ASSIGN_OR_RETURN(session_, Session::Load(model_, *FileSystem::Posix(), path, params));
    return model_->device().Synchronize();
  }

  int32_t NextId() {
    const auto vocab = static_cast<float>(model_->config().vocab_size);
    return static_cast<int32_t>(PhiloxUniform(options_.seed, drawn_++) * vocab);
  }

  absl::Status Append(int64_t n) {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = NextId();
    ProgressBar bar(stderr, "rill-bench: prefill", "tokens", ProgressBar::Style::kAuto);
    RILL_RETURN_IF_ERROR(session_->Append(ids, [&bar, this](uint64_t done, uint64_t total) {
      if (Long(total)) bar.Update(done, total);
      return Interrupted();
    }));
    return model_->device().Synchronize();
  }

  bool Long(uint64_t n) const { return n > static_cast<uint64_t>(options_.prefill_tokens); }

  absl::Status DecodeOne() {
    if (Interrupted()) return absl::CancelledError("interrupted");
    RILL_RETURN_IF_ERROR(session_->Step(NextId()));
    SamplingParams greedy;
    greedy.temperature = 0;
    return session_->Sample(greedy).status();
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

  const std::shared_ptr<const Model> model_;
  const BenchOptions& options_;
  const SessionShape shape_;
  std::unique_ptr<Session> session_;
  std::optional<ScratchFolder> folder_;
  std::optional<SyntheticSession> synthetic_;
  int64_t written_ = -1;  // tokens of the file in the folder
  uint64_t drawn_ = 0;
};

absl::StatusOr<BenchPoint> MeasurePoint(Bench& bench, const BenchOptions& options,
                                        int64_t context) {
  BenchPoint point;
  point.context = context;
  RILL_RETURN_IF_ERROR(bench.Fill(context));
  if (options.decode_tokens > 0) {
    point.decode_begin = bench.session().length();
    RILL_ASSIGN_OR_RETURN(point.decode, bench.Decode());
    point.decode_end = bench.session().length();
    point.bytes = bench.Bytes(point.decode_begin, point.decode_end);
  }
  if (options.prefill_tokens > 0) {
    RILL_RETURN_IF_ERROR(bench.Fill(context));
    point.prefill_begin = bench.session().length();
    RILL_ASSIGN_OR_RETURN(point.prefill, bench.Prefill());
    point.prefill_end = bench.session().length();
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
  result.synthetic_context = options.synthetic_context;
  Bench bench(std::move(model), options, ShapeFor(options));
  RILL_RETURN_IF_ERROR(bench.Open());
  result.session_bytes = bench.session().plan().total();
  RILL_RETURN_IF_ERROR(bench.WarmUp());
  for (const int64_t context : options.contexts) {
    RILL_ASSIGN_OR_RETURN(BenchPoint point, MeasurePoint(bench, options, context));
    result.points.push_back(point);
  }
  return result;
}

}  // namespace rill::tools
