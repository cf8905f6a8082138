// tests/support/tiny_config.h — a config with one of everything and as few bytes as that takes.
#pragma once

#include "model/config.h"

namespace rill::test {

// Two layers: KDA with a dense feed-forward, MLA with two experts and a shared one. Sizes are no
// multiples of the quantisation group, so every padding occurs.
inline ModelConfig TinyConfig() {
  ModelConfig c;
  c.vocab_size = 20;
  c.hidden_size = 40;
  c.max_context = 512;
  c.layers = {{MixerKind::kKda, FfnKind::kDense}, {MixerKind::kMla, FfnKind::kMoe}};
  c.kda_heads = 2;
  c.kda_head_dim = 16;
  c.kda_gate_rank = 16;
  c.mla_heads = 2;
  c.kv_lora_rank = 24;
  c.qk_nope_dim = 8;
  c.qk_rope_dim = 4;
  c.v_head_dim = 8;
  c.dense_width = 48;
  c.n_experts = 2;
  c.experts_per_token = 1;
  c.expert_width = 24;
  c.n_shared_experts = 1;
  c.bos_token = 1;
  c.eos_token = 2;
  c.pad_token = 0;
  return c;
}

}  // namespace rill::test
