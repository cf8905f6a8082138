#include "model/weights/fingerprint.h"

#include "kernels/base/dtype.h"

namespace rill {

void CanonicalHash::Integer(int64_t value) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i)
    bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i));
  sha_.Update(bytes, sizeof bytes);
}

void CanonicalHash::Float(float value) {
  const uint32_t bits = FloatToBits(value);
  const uint8_t bytes[4] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8),
                            static_cast<uint8_t>(bits >> 16), static_cast<uint8_t>(bits >> 24)};
  sha_.Update(bytes, sizeof bytes);
}

void CanonicalHash::Text(std::string_view text) {
  Integer(static_cast<int64_t>(text.size()));
  sha_.Update(text.data(), text.size());
}

Sha256Digest ArchitectureFingerprint(const ModelConfig& c) {
  CanonicalHash hash;
  hash.Text("rill architecture 1");
  hash.Integer(c.n_layers());
  for (const LayerKind& kind : c.layers) {
    hash.Integer(static_cast<int64_t>(kind.mixer));
    hash.Integer(static_cast<int64_t>(kind.ffn));
  }
  for (int64_t value : {c.vocab_size,
                        c.hidden_size,
                        int64_t{c.tie_embeddings},
                        c.kda_heads,
                        c.kda_head_dim,
                        c.conv_width,
                        c.kda_gate_rank,
                        c.mla_heads,
                        c.q_lora_rank,
                        c.kv_lora_rank,
                        c.qk_nope_dim,
                        c.qk_rope_dim,
                        c.v_head_dim,
                        c.dense_width,
                        c.n_experts,
                        c.experts_per_token,
                        c.expert_width,
                        c.n_shared_experts,
                        static_cast<int64_t>(c.router_activation),
                        int64_t{c.router_renormalize},
                        c.router_groups,
                        c.router_topk_groups}) {
    hash.Integer(value);
  }
  for (float value : {c.rms_norm_eps, c.kv_norm_eps, c.router_scaling}) hash.Float(value);
  return hash.Finish();
}

Sha256Digest WeightsFingerprint(const std::vector<TensorSpec>& table,
                                const std::vector<uint32_t>& crcs) {
  CanonicalHash hash;
  hash.Text("rill weights 1");
  for (size_t i = 0; i < table.size(); ++i) {
    const TensorSpec& spec = table[i];
    hash.Text(spec.name);
    for (int64_t value : {static_cast<int64_t>(spec.role), static_cast<int64_t>(spec.format),
                          spec.rows, spec.cols, int64_t{crcs[i]}}) {
      hash.Integer(value);
    }
  }
  return hash.Finish();
}

}  // namespace rill
