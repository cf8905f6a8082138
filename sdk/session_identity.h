// sdk/session_identity.h — what a session file must say for a model's sessions to be its own.
#pragma once

#include "kernels/base/dtype.h"
#include "model/model.h"
#include "sdk/session_file/content.h"

namespace rill {

SessionIdentity IdentityOf(const Model& model);

// What does not depend on how the session is shaped: all but the ring.
SessionGeometry GeometryOf(const Model& model, DType mla_dtype);

}  // namespace rill
