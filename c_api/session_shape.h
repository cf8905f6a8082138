// c_api/session_shape.h — the shape of a session from numbers where zero means the default.
#pragma once

#include "absl/strings/str_cat.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "model/graph/plan.h"

namespace rill::capi {

inline rill_status ReadRewindWindow(int32_t window, SessionShape* shape) {
  if (window == RILL_NO_REWIND_WINDOW) {
    shape->rewind_window = 0;
  } else if (window < 0) {
    return Fail(RILL_E_ARG, absl::StrCat("rewind_window ", window, " cannot be"));
  } else if (window > 0) {
    shape->rewind_window = window;
  }
  return RILL_OK;
}

// Params: rill_session_params or rill_plan_params.
template <typename Params>
rill_status ReadShape(const Params& params, SessionShape* shape) {
  if (params.mla_dtype != RILL_MLA_BF16 && params.mla_dtype != RILL_MLA_F32) {
    return Fail(RILL_E_ARG, absl::StrCat("mla_dtype ", params.mla_dtype, " is neither 0 nor 1"));
  }
  if (params.max_tokens > INT64_MAX) {
    return Fail(RILL_E_ARG, absl::StrCat("max_tokens ", params.max_tokens, " cannot be"));
  }
  if (params.max_tokens > 0) shape->max_tokens = static_cast<int64_t>(params.max_tokens);
  if (params.prefill_chunk > 0) shape->prefill_chunk = params.prefill_chunk;
  if (params.ladder_slots > 0) shape->ladder_slots = params.ladder_slots;
  shape->mla_dtype = params.mla_dtype == RILL_MLA_F32 ? DType::kF32 : DType::kBf16;
  RILL_C_TRY(ReadRewindWindow(params.rewind_window, shape));
  return Answer(Validate(*shape), Origin::kArgs);
}

}  // namespace rill::capi
