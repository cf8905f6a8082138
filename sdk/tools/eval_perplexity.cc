#include <algorithm>
#include <cmath>

#include "kernels/base/status.h"
#include "model/convert/progress.h"
#include "sdk/session.h"
#include "sdk/tools/eval.h"
#include "sdk/tools/load_model.h"

namespace rill::tools {
namespace {

constexpr uint64_t kMaxTextFile = uint64_t{1} << 30;

// Sum of the losses of ids[1..], each given those before it.
absl::StatusOr<double> ScoreWindow(Session& session, absl::Span<const int32_t> ids) {
  RILL_RETURN_IF_ERROR(session.Reset());
  double sum = 0;
  RILL_RETURN_IF_ERROR(session.Append(
      ids, [](uint64_t, uint64_t) { return Interrupted(); },
      [&](uint64_t position, absl::Span<const float> logits) {
        if (position + 1 < ids.size()) sum += NegativeLogLikelihood(logits, ids[position + 1]);
      }));
  return sum;
}

}  // namespace

double NegativeLogLikelihood(absl::Span<const float> logits, int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - largest);
  return std::log(sum) + largest - static_cast<double>(logits[static_cast<size_t>(id)]);
}

absl::StatusOr<Perplexity> MeasurePerplexity(std::shared_ptr<const Model> model,
                                             const PerplexityOptions& options) {
  if (model->tokenizer() == nullptr)
    return absl::FailedPreconditionError("the model has no tokenizer, so that it cannot read text");
  RILL_ASSIGN_OR_RETURN(const std::string text,
                        ReadWholeFile(*FileSystem::Posix(), options.text_path, kMaxTextFile));
  RILL_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                        model->tokenizer()->Encode(text, EncodeMode::kContent));
  if (ids.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.text_path, ": ", ids.size(), " tokens, expected 2 or more"));
  }
  const auto n = static_cast<int64_t>(ids.size());
  const SessionShape shape{std::min(options.window, n), options.prefill_chunk, options.mla_dtype};
  RILL_ASSIGN_OR_RETURN(const auto session, Session::Create(std::move(model), shape));
  ProgressBar bar(stderr, "rill-eval: perplexity", "tokens");
  Perplexity result;
  result.tokens = n;
  result.text_bytes = text.size();
  double sum = 0;
  for (int64_t begin = 0; begin + 1 < n; begin += options.window) {
    const int64_t length = std::min(options.window, n - begin);
    RILL_ASSIGN_OR_RETURN(
        const double window,
        ScoreWindow(*session, absl::MakeConstSpan(ids).subspan(static_cast<size_t>(begin),
                                                               static_cast<size_t>(length))));
    sum += window;
    result.scored += length - 1;
    ++result.windows;
    bar.Update(static_cast<uint64_t>(begin + length), static_cast<uint64_t>(n));
  }
  result.mean_nll = sum / static_cast<double>(result.scored);
  return result;
}

}  // namespace rill::tools
