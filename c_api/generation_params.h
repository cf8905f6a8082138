// c_api/generation_params.h — rill_gen_params as the sdk takes them.
#pragma once

#include "c_api/status.h"
#include "sdk/generation.h"

namespace rill::capi {

// Copies everything. RILL_E_ARG names the field; the values' limits are the sdk's to check.
rill_status ReadGenerationParams(const rill_gen_params* in, GenerationParams* out);

}  // namespace rill::capi
