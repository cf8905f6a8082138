// c_api/session_shape.h — the shape of a session from numbers where zero means the default.
#pragma once

#include "absl/strings/str_cat.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "model/graph/plan.h"

namespace rill::capi {

inline rill_status ReadShape(uint64_t max_tokens, uint32_t prefill_chunk, int32_t mla_dtype,
                             SessionShape* shape) {
  if (mla_dtype != RILL_MLA_BF16 && mla_dtype != RILL_MLA_F32) {
    return Fail(RILL_E_ARG, absl::StrCat("mla_dtype ", mla_dtype, " is neither 0 nor 1"));
  }
  if (max_tokens > INT64_MAX) {
    return Fail(RILL_E_ARG, absl::StrCat("max_tokens ", max_tokens, " cannot be"));
  }
  if (max_tokens > 0) shape->max_tokens = static_cast<int64_t>(max_tokens);
  if (prefill_chunk > 0) shape->prefill_chunk = prefill_chunk;
  shape->mla_dtype = mla_dtype == RILL_MLA_F32 ? DType::kF32 : DType::kBf16;
  return Answer(Validate(*shape), Origin::kArgs);
}

}  // namespace rill::capi
