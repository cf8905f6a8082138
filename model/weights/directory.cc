#include "model/weights/directory.h"

#include "flatbuffers/flatbuffers.h"
#include "model/format/container.h"
#include "model/format/model_generated.h"

namespace rill {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

Offset<flatbuffers::String> String(FlatBufferBuilder& b, std::string_view text) {
  return b.CreateString(text.data(), text.size());
}

Offset<fb::Config> EncodeConfig(FlatBufferBuilder& b, const ModelConfig& c) {
  std::vector<uint8_t> mixers, ffns;
  for (const LayerKind& kind : c.layers) {
    mixers.push_back(static_cast<uint8_t>(kind.mixer));
    ffns.push_back(static_cast<uint8_t>(kind.ffn));
  }
  const auto mixers_at = b.CreateVector(mixers), ffns_at = b.CreateVector(ffns);
  fb::ConfigBuilder t(b);
  t.add_vocab_size(c.vocab_size);
  t.add_hidden_size(c.hidden_size);
  t.add_rms_norm_eps(c.rms_norm_eps);
  t.add_tie_embeddings(c.tie_embeddings);
  t.add_max_context(c.max_context);
  t.add_mixers(mixers_at);
  t.add_ffns(ffns_at);
  t.add_kda_heads(c.kda_heads);
  t.add_kda_head_dim(c.kda_head_dim);
  t.add_conv_width(c.conv_width);
  t.add_kda_gate_rank(c.kda_gate_rank);
  t.add_mla_heads(c.mla_heads);
  t.add_q_lora_rank(c.q_lora_rank);
  t.add_kv_lora_rank(c.kv_lora_rank);
  t.add_qk_nope_dim(c.qk_nope_dim);
  t.add_qk_rope_dim(c.qk_rope_dim);
  t.add_v_head_dim(c.v_head_dim);
  t.add_kv_norm_eps(c.kv_norm_eps);
  t.add_dense_width(c.dense_width);
  t.add_n_experts(c.n_experts);
  t.add_experts_per_token(c.experts_per_token);
  t.add_expert_width(c.expert_width);
  t.add_n_shared_experts(c.n_shared_experts);
  t.add_router_activation(static_cast<uint8_t>(c.router_activation));
  t.add_router_renormalize(c.router_renormalize);
  t.add_router_scaling(c.router_scaling);
  t.add_router_groups(c.router_groups);
  t.add_router_topk_groups(c.router_topk_groups);
  t.add_bos_token(c.bos_token);
  t.add_eos_token(c.eos_token);
  t.add_pad_token(c.pad_token);
  return t.Finish();
}

Offset<fb::Recipe> EncodeRecipe(FlatBufferBuilder& b, const Recipe& recipe) {
  std::vector<uint8_t> formats;
  for (WeightFormat format : recipe.format) formats.push_back(static_cast<uint8_t>(format));
  const auto name = String(b, recipe.name);
  return fb::CreateRecipe(b, name, b.CreateVector(formats));
}

Offset<flatbuffers::Vector<Offset<fb::Tensor>>> EncodeTensors(FlatBufferBuilder& b,
                                                              const Directory& d) {
  std::vector<Offset<fb::Tensor>> tensors;
  tensors.reserve(d.table.size());
  for (size_t i = 0; i < d.table.size(); ++i) {
    const TensorSpec& spec = d.table[i];
    tensors.push_back(
        fb::CreateTensor(b, String(b, spec.name), static_cast<uint8_t>(spec.role),
                         static_cast<uint8_t>(spec.format), static_cast<uint32_t>(spec.rows),
                         static_cast<uint32_t>(spec.cols), d.offsets[i], spec.bytes, d.crcs[i]));
  }
  return b.CreateVector(tensors);
}

Offset<flatbuffers::Vector<Offset<fb::Blob>>> EncodeBlobs(FlatBufferBuilder& b,
                                                          const Directory& d) {
  std::vector<Offset<fb::Blob>> blobs;
  for (const BlobRecord& blob : d.blobs) {
    blobs.push_back(fb::CreateBlob(b, String(b, blob.name), blob.offset, blob.bytes, blob.crc));
  }
  return b.CreateVector(blobs);
}

}  // namespace

std::string EncodeDirectory(const Directory& directory) {
  FlatBufferBuilder b(1 << 16);
  b.ForceDefaults(true);  // a checksum that happens to be zero must not shrink the directory
  const auto producer = String(b, "rill model writer 1.0");
  const auto matrix_layout = String(b, kMatrixLayoutTag),
             expert_layout = String(b, kExpertLayoutTag);
  const auto config = EncodeConfig(b, directory.config);
  const auto recipe = EncodeRecipe(b, directory.recipe);
  const auto tensors = EncodeTensors(b, directory);
  const auto blobs = EncodeBlobs(b, directory);
  fb::FinishModelBuffer(b, fb::CreateModel(b, producer, matrix_layout, expert_layout, config,
                                           recipe, tensors, blobs));
  return std::string(reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize());
}

}  // namespace rill
