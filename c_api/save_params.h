// c_api/save_params.h — what the calls on session files take and report, as the sdk has it.
#pragma once

#include "c_api/status.h"
#include "sdk/session.h"

namespace rill::capi {

// `usual` is what parts 0 means. RILL_E_ARG names the field.
rill_status ReadSaveParams(const rill_save_params* in, uint32_t usual, SaveParams* out);
rill_save_report ToC(const SaveReport& report);

rill_status ReadLoadParams(const rill_load_params* in, LoadParams* out);
rill_load_report ToC(const LoadReport& report);

inline constexpr uint32_t kSaveAll = RILL_SAVE_LADDER | RILL_SAVE_RING;

}  // namespace rill::capi
