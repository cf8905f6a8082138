#include "c_api/save_params.h"

#include "absl/strings/str_cat.h"
#include "c_api/session_call.h"

namespace rill::capi {
namespace {

rill_status ReadDurability(int32_t durability, SaveParams* out) {
  switch (durability) {
    case RILL_DURABILITY_FULL:
      out->durability = Durability::kFull;
      return RILL_OK;
    case RILL_DURABILITY_DATA:
      out->durability = Durability::kData;
      return RILL_OK;
    case RILL_DURABILITY_NONE:
      out->durability = Durability::kNone;
      return RILL_OK;
    default:
      return Fail(RILL_E_ARG, absl::StrCat("durability ", durability, " is outside ",
                                           RILL_DURABILITY_FULL, "..", RILL_DURABILITY_NONE));
  }
}

rill_status CheckParts(uint32_t parts) {
  const uint32_t bare = RILL_SAVE_BARE;
  if ((parts & ~(kSaveAll | bare)) == 0 && ((parts & bare) == 0 || parts == bare)) return RILL_OK;
  return Fail(RILL_E_ARG,
              absl::StrCat("parts ", parts, ": RILL_SAVE_LADDER and RILL_SAVE_RING, or ",
                           "RILL_SAVE_BARE alone"));
}

}  // namespace

rill_status ReadSaveParams(const rill_save_params* in, uint32_t usual, SaveParams* out) {
  rill_save_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  RILL_C_TRY(ReadDurability(params.durability, out));
  RILL_C_TRY(CheckParts(params.parts));
  const uint32_t parts = params.parts == 0 ? usual : params.parts;
  out->ladder = (parts & RILL_SAVE_LADDER) != 0;
  out->ring = (parts & RILL_SAVE_RING) != 0;
  out->progress = ToProgress(params.progress, params.progress_ud);
  return RILL_OK;
}

rill_save_report ToC(const SaveReport& from) {
  rill_save_report to{};
  to.revision = from.generation;
  to.kept_tokens = from.kept_tokens;
  to.new_tokens = from.new_tokens;
  to.page_bytes = from.pages;
  to.state_bytes = from.state;
  to.extra_bytes = from.rungs + from.ring;
  to.total_bytes = from.total;
  to.file_bytes = from.file_bytes;
  to.superseded = from.superseded;
  return to;
}

rill_status ReadLoadParams(const rill_load_params* in, LoadParams* out) {
  rill_load_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  if (params.max_tokens > INT64_MAX) {
    return Fail(RILL_E_ARG, absl::StrCat("max_tokens ", params.max_tokens, " cannot be"));
  }
  if (params.rewind_window < RILL_NO_REWIND_WINDOW) {
    return Fail(RILL_E_ARG, absl::StrCat("rewind_window ", params.rewind_window, " cannot be"));
  }
  out->max_tokens = static_cast<int64_t>(params.max_tokens);
  out->prefill_chunk = params.prefill_chunk;
  out->ladder_slots = params.ladder_slots;
  if (params.rewind_window != 0) {
    out->rewind_window = params.rewind_window == RILL_NO_REWIND_WINDOW ? 0 : params.rewind_window;
  }
  out->lazy = params.lazy != 0;
  out->any_numerics = params.any_numerics != 0;
  out->attach = params.attach != 0;
  out->progress = ToProgress(params.progress, params.progress_ud);
  return RILL_OK;
}

rill_load_report ToC(const LoadReport& from) {
  rill_load_report to{};
  to.mapped = from.mapped ? 1 : 0;
  to.reply_open = from.reply_open ? 1 : 0;
  to.unfinished_flush = from.unfinished_flush ? 1 : 0;
  to.revision = from.generation;
  to.tokens = from.tokens;
  to.checkpoints = from.checkpoints;
  to.recorded = from.recorded;
  return to;
}

}  // namespace rill::capi
