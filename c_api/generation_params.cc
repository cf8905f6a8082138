#include "c_api/generation_params.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/structs.h"
#include "sdk/stop.h"

namespace rill::capi {
namespace {

// Zero is the default everywhere; some steps are switched off by one.
float OneForZero(float value) { return value == 0.0f ? 1.0f : value; }

constexpr uint32_t kMaxTopLogprobs = 20;
constexpr size_t kMaxStopIds = 4096;  // each is looked at for each token

rill_status ReadSampling(const rill_gen_params& params, SamplingParams* sampling) {
  sampling->temperature = params.temperature;
  sampling->top_k = params.top_k;
  sampling->top_p = OneForZero(params.top_p);
  sampling->min_p = params.min_p;
  sampling->repeat_penalty = OneForZero(params.repeat_penalty);
  sampling->frequency_penalty = params.frequency_penalty;
  sampling->presence_penalty = params.presence_penalty;
  if (params.penalty_window > 0) sampling->penalty_window = params.penalty_window;
  sampling->seed = params.seed;
  RILL_C_TRY(CheckSpan("bias", params.bias, params.n_bias, sizeof *params.bias));
  if (params.n_bias > kMaxTokenBiases) {
    return Fail(RILL_E_ARG, absl::StrCat("n_bias ", params.n_bias, " is over ", kMaxTokenBiases));
  }
  for (size_t i = 0; i < params.n_bias; ++i) {
    sampling->bias.push_back({params.bias[i].id, params.bias[i].bias});
  }
  return RILL_OK;
}

rill_status ReadStops(const rill_gen_params& params, GenerationParams* out) {
  RILL_C_TRY(CheckSpan("stop_ids", params.stop_ids, params.n_stop_ids, sizeof *params.stop_ids));
  if (params.n_stop_ids > kMaxStopIds) {
    return Fail(RILL_E_ARG,
                absl::StrCat("n_stop_ids ", params.n_stop_ids, " is over ", kMaxStopIds));
  }
  RILL_C_TRY(CheckSpan("stop_strings", params.stop_strings, params.n_stop_strings,
                       sizeof *params.stop_strings));
  if (params.n_stop_strings > kMaxStopStrings) {
    return Fail(RILL_E_ARG, absl::StrCat("n_stop_strings ", params.n_stop_strings, " is over ",
                                         kMaxStopStrings));
  }
  out->stop_tokens.assign(params.stop_ids, params.stop_ids + params.n_stop_ids);
  for (size_t i = 0; i < params.n_stop_strings; ++i) {
    const rill_str& stop = params.stop_strings[i];
    std::string_view text;
    RILL_C_TRY(CheckText("stop_strings", stop.data, stop.len, &text));
    if (text.size() > kMaxStopBytes) {
      return Fail(RILL_E_ARG, absl::StrCat("stop_strings[", i, "]: ", text.size(),
                                           " bytes are over ", kMaxStopBytes));
    }
    out->stop_strings.emplace_back(text);
  }
  out->use_model_stops = params.ignore_model_stops == 0;
  return RILL_OK;
}

}  // namespace

rill_status ReadGenerationParams(const rill_gen_params* in, GenerationParams* out) {
  rill_gen_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  RILL_C_TRY(ReadSampling(params, &out->sampling));
  RILL_C_TRY(ReadStops(params, out));
  if (params.top_logprobs > kMaxTopLogprobs) {
    return Fail(RILL_E_ARG,
                absl::StrCat("top_logprobs ", params.top_logprobs, " is over ", kMaxTopLogprobs));
  }
  out->top_logprobs = params.top_logprobs;
  if (params.max_tokens > 0) out->max_tokens = params.max_tokens;
  return RILL_OK;
}

}  // namespace rill::capi
