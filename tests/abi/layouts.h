// tests/abi/layouts.h — every struct and constant of rill.h, as the compiler lays them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "rill/rill.h"

namespace rill::test {

struct Layout {
  std::string name;
  size_t size;
  std::vector<std::pair<std::string, size_t>> fields;
};

#define RILL_FIELD(type, field) \
  { #field, offsetof(type, field) }

inline std::vector<Layout> Layouts() {
  return {
      {"rill_plan_params",
       sizeof(rill_plan_params),
       {RILL_FIELD(rill_plan_params, struct_size), RILL_FIELD(rill_plan_params, load_mode),
        RILL_FIELD(rill_plan_params, device), RILL_FIELD(rill_plan_params, device_len),
        RILL_FIELD(rill_plan_params, max_tokens), RILL_FIELD(rill_plan_params, prefill_chunk),
        RILL_FIELD(rill_plan_params, mla_dtype), RILL_FIELD(rill_plan_params, sessions),
        RILL_FIELD(rill_plan_params, rewind_window), RILL_FIELD(rill_plan_params, ladder_slots),
        RILL_FIELD(rill_plan_params, reserved), RILL_FIELD(rill_plan_params, host_budget),
        RILL_FIELD(rill_plan_params, device_budget)}},
      {"rill_plan",
       sizeof(rill_plan),
       {RILL_FIELD(rill_plan, struct_size), RILL_FIELD(rill_plan, fits),
        RILL_FIELD(rill_plan, file_bytes), RILL_FIELD(rill_plan, weights),
        RILL_FIELD(rill_plan, weights_mapped), RILL_FIELD(rill_plan, state),
        RILL_FIELD(rill_plan, shadow), RILL_FIELD(rill_plan, cache_per_token),
        RILL_FIELD(rill_plan, cache), RILL_FIELD(rill_plan, workspace),
        RILL_FIELD(rill_plan, logits), RILL_FIELD(rill_plan, ledger), RILL_FIELD(rill_plan, ring),
        RILL_FIELD(rill_plan, ladder), RILL_FIELD(rill_plan, session_total),
        RILL_FIELD(rill_plan, total_host), RILL_FIELD(rill_plan, total_device)}},
      {"rill_model_params",
       sizeof(rill_model_params),
       {RILL_FIELD(rill_model_params, struct_size), RILL_FIELD(rill_model_params, load_mode),
        RILL_FIELD(rill_model_params, device), RILL_FIELD(rill_model_params, device_len),
        RILL_FIELD(rill_model_params, threads), RILL_FIELD(rill_model_params, skip_verify),
        RILL_FIELD(rill_model_params, sm_budget), RILL_FIELD(rill_model_params, reserved),
        RILL_FIELD(rill_model_params, progress), RILL_FIELD(rill_model_params, progress_ud)}},
      {"rill_model_info",
       sizeof(rill_model_info),
       {RILL_FIELD(rill_model_info, struct_size),
        RILL_FIELD(rill_model_info, vocab_size),
        RILL_FIELD(rill_model_info, hidden_size),
        RILL_FIELD(rill_model_info, n_layers),
        RILL_FIELD(rill_model_info, n_kda_layers),
        RILL_FIELD(rill_model_info, n_mla_layers),
        RILL_FIELD(rill_model_info, n_experts),
        RILL_FIELD(rill_model_info, experts_per_token),
        RILL_FIELD(rill_model_info, has_tokenizer),
        RILL_FIELD(rill_model_info, n_stop_ids),
        RILL_FIELD(rill_model_info, stop_ids),
        RILL_FIELD(rill_model_info, threads),
        RILL_FIELD(rill_model_info, reserved),
        RILL_FIELD(rill_model_info, max_context),
        RILL_FIELD(rill_model_info, weight_bytes),
        RILL_FIELD(rill_model_info, device_weight_bytes),
        RILL_FIELD(rill_model_info, recipe),
        RILL_FIELD(rill_model_info, device),
        RILL_FIELD(rill_model_info, device_description),
        RILL_FIELD(rill_model_info, numerics)}},
      {"rill_fingerprint",
       sizeof(rill_fingerprint),
       {RILL_FIELD(rill_fingerprint, struct_size), RILL_FIELD(rill_fingerprint, architecture),
        RILL_FIELD(rill_fingerprint, tokenizer), RILL_FIELD(rill_fingerprint, weights)}},
      {"rill_utf8", sizeof(rill_utf8), {RILL_FIELD(rill_utf8, pending), RILL_FIELD(rill_utf8, n)}},
      {"rill_session_params",
       sizeof(rill_session_params),
       {RILL_FIELD(rill_session_params, struct_size), RILL_FIELD(rill_session_params, mla_dtype),
        RILL_FIELD(rill_session_params, max_tokens), RILL_FIELD(rill_session_params, prefill_chunk),
        RILL_FIELD(rill_session_params, rewind_window),
        RILL_FIELD(rill_session_params, ladder_slots), RILL_FIELD(rill_session_params, reserved)}},
      {"rill_token_prob",
       sizeof(rill_token_prob),
       {RILL_FIELD(rill_token_prob, id), RILL_FIELD(rill_token_prob, logprob)}},
      {"rill_stats",
       sizeof(rill_stats),
       {RILL_FIELD(rill_stats, struct_size), RILL_FIELD(rill_stats, reserved),
        RILL_FIELD(rill_stats, prefill_tokens), RILL_FIELD(rill_stats, decode_tokens),
        RILL_FIELD(rill_stats, sampled_tokens), RILL_FIELD(rill_stats, prefill_ns),
        RILL_FIELD(rill_stats, decode_ns), RILL_FIELD(rill_stats, last_ttft_ns),
        RILL_FIELD(rill_stats, cancelled_calls), RILL_FIELD(rill_stats, device_bytes),
        RILL_FIELD(rill_stats, planned_bytes), RILL_FIELD(rill_stats, weight_bytes_per_token)}},
      {"rill_token_bias",
       sizeof(rill_token_bias),
       {RILL_FIELD(rill_token_bias, id), RILL_FIELD(rill_token_bias, bias)}},
      {"rill_str", sizeof(rill_str), {RILL_FIELD(rill_str, data), RILL_FIELD(rill_str, len)}},
      {"rill_gen_params",
       sizeof(rill_gen_params),
       {RILL_FIELD(rill_gen_params, struct_size),
        RILL_FIELD(rill_gen_params, temperature),
        RILL_FIELD(rill_gen_params, top_k),
        RILL_FIELD(rill_gen_params, top_p),
        RILL_FIELD(rill_gen_params, min_p),
        RILL_FIELD(rill_gen_params, repeat_penalty),
        RILL_FIELD(rill_gen_params, frequency_penalty),
        RILL_FIELD(rill_gen_params, presence_penalty),
        RILL_FIELD(rill_gen_params, penalty_window),
        RILL_FIELD(rill_gen_params, top_logprobs),
        RILL_FIELD(rill_gen_params, seed),
        RILL_FIELD(rill_gen_params, max_tokens),
        RILL_FIELD(rill_gen_params, bias),
        RILL_FIELD(rill_gen_params, n_bias),
        RILL_FIELD(rill_gen_params, stop_ids),
        RILL_FIELD(rill_gen_params, n_stop_ids),
        RILL_FIELD(rill_gen_params, stop_strings),
        RILL_FIELD(rill_gen_params, n_stop_strings),
        RILL_FIELD(rill_gen_params, ignore_model_stops),
        RILL_FIELD(rill_gen_params, reserved)}},
      {"rill_event",
       sizeof(rill_event),
       {RILL_FIELD(rill_event, struct_size), RILL_FIELD(rill_event, kind),
        RILL_FIELD(rill_event, id), RILL_FIELD(rill_event, logprob), RILL_FIELD(rill_event, finish),
        RILL_FIELD(rill_event, n_top), RILL_FIELD(rill_event, position),
        RILL_FIELD(rill_event, text), RILL_FIELD(rill_event, text_len),
        RILL_FIELD(rill_event, top)}},
      {"rill_gen_stats",
       sizeof(rill_gen_stats),
       {RILL_FIELD(rill_gen_stats, struct_size), RILL_FIELD(rill_gen_stats, finish),
        RILL_FIELD(rill_gen_stats, tokens), RILL_FIELD(rill_gen_stats, text_bytes),
        RILL_FIELD(rill_gen_stats, elapsed_ns)}},
  };
}

#undef RILL_FIELD
#define RILL_CONSTANT(name) \
  { #name, name }

inline std::vector<std::pair<std::string, int64_t>> Constants() {
  return {
      RILL_CONSTANT(RILL_OK),
      RILL_CONSTANT(RILL_E_ARG),
      RILL_CONSTANT(RILL_E_NOMEM),
      RILL_CONSTANT(RILL_E_BUDGET),
      RILL_CONSTANT(RILL_E_IO),
      RILL_CONSTANT(RILL_E_CORRUPT),
      RILL_CONSTANT(RILL_E_FORMAT_VERSION),
      RILL_CONSTANT(RILL_E_MISMATCH),
      RILL_CONSTANT(RILL_E_BUSY),
      RILL_CONSTANT(RILL_E_REENTRANT),
      RILL_CONSTANT(RILL_E_CANCELLED),
      RILL_CONSTANT(RILL_E_CONTEXT_FULL),
      RILL_CONSTANT(RILL_E_UNSUPPORTED),
      RILL_CONSTANT(RILL_E_DEVICE),
      RILL_CONSTANT(RILL_E_DEVICE_LOST),
      RILL_CONSTANT(RILL_E_GRAMMAR),
      RILL_CONSTANT(RILL_E_CLOSED),
      RILL_CONSTANT(RILL_E_INTERNAL),
      RILL_CONSTANT(RILL_E_STATE),
      RILL_CONSTANT(RILL_LOG_DEBUG),
      RILL_CONSTANT(RILL_LOG_INFO),
      RILL_CONSTANT(RILL_LOG_WARNING),
      RILL_CONSTANT(RILL_LOG_ERROR),
      RILL_CONSTANT(RILL_MLA_BF16),
      RILL_CONSTANT(RILL_MLA_F32),
      RILL_CONSTANT(RILL_LOAD_COPY),
      RILL_CONSTANT(RILL_LOAD_MAP),
      RILL_CONSTANT(RILL_NO_REWIND_WINDOW),
      RILL_CONSTANT(RILL_TOKENIZE_SPECIAL),
      RILL_CONSTANT(RILL_CHAT_OPEN_REPLY),
      RILL_CONSTANT(RILL_EVENT_TOKEN),
      RILL_CONSTANT(RILL_EVENT_END),
      RILL_CONSTANT(RILL_FINISH_NONE),
      RILL_CONSTANT(RILL_FINISH_STOP_TOKEN),
      RILL_CONSTANT(RILL_FINISH_STOP_STRING),
      RILL_CONSTANT(RILL_FINISH_MAX_TOKENS),
      RILL_CONSTANT(RILL_FINISH_CONTEXT_FULL),
  };
}

#undef RILL_CONSTANT

}  // namespace rill::test
