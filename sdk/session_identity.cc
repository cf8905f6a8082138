#include "sdk/session_identity.h"

#include <cstring>

#include "kernels/ops/mla_cache.h"
#include "model/graph/state.h"

namespace rill {
namespace {

constexpr const char* kStateLayoutTag = "state-kv-f32-v1";

}  // namespace

SessionIdentity IdentityOf(const Model& model) {
  SessionIdentity id;
  const Fingerprint& f = model.fingerprint();
  std::memcpy(id.architecture.data(), f.architecture, sizeof f.architecture);
  std::memcpy(id.tokenizer.data(), f.tokenizer, sizeof f.tokenizer);
  std::memcpy(id.weights.data(), f.weights, sizeof f.weights);
  id.quantization = model.recipe().name;
  id.state_layout = kStateLayoutTag;
  id.numerics = model.device().info().numerics;
  return id;
}

SessionGeometry GeometryOf(const Model& model, DType mla_dtype) {
  const StateLayout layout = StateLayout::Make(model.config(), mla_dtype);
  SessionGeometry g;
  g.page_tokens = static_cast<uint32_t>(kPageTokens);
  g.vocab_size = static_cast<uint32_t>(model.config().vocab_size);
  g.page_bytes = layout.page_bytes;
  g.fixed_bytes = layout.fixed_bytes;
  g.mla_dtype = std::string(Name(mla_dtype));
  return g;
}

}  // namespace rill
