#include "model/weights/validate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flatbuffers/flatbuffers.h"
#include "kernels/base/status.h"
#include "model/format/container.h"
#include "model/format/model_generated.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

constexpr uint32_t kMaxDepth = 8;                             // the schema needs three
constexpr uint32_t kMaxTables = kMaxTensors + kMaxBlobs + 3;  // model, config, recipe

absl::string_view View(const flatbuffers::String* text) { return {text->c_str(), text->size()}; }

template <typename A, typename B>
absl::Status Differs(absl::string_view what, const A& found, const B& expected) {
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", found, ", expected ", expected));
}

absl::Status CheckTag(absl::string_view what, const flatbuffers::String* found,
                      std::string_view expected) {
  if (View(found) == AbslView(expected)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what, " is \"", View(found).substr(0, kMaxNameBytes), "\", this build reads \"",
                   AbslView(expected), "\""));
}

absl::StatusOr<ModelConfig> DecodeConfig(const fb::Config& t) {
  ModelConfig c;
  if (t.mixers()->size() != t.ffns()->size()) {
    return Differs("number of feed-forward layers", t.ffns()->size(), t.mixers()->size());
  }
  c.layers.reserve(t.mixers()->size());
  for (uint32_t l = 0; l < t.mixers()->size(); ++l) {
    c.layers.push_back(
        {static_cast<MixerKind>(t.mixers()->Get(l)), static_cast<FfnKind>(t.ffns()->Get(l))});
  }
  c.vocab_size = t.vocab_size();
  c.hidden_size = t.hidden_size();
  c.rms_norm_eps = t.rms_norm_eps();
  c.tie_embeddings = t.tie_embeddings();
  c.max_context = t.max_context();
  c.kda_heads = t.kda_heads();
  c.kda_head_dim = t.kda_head_dim();
  c.conv_width = t.conv_width();
  c.kda_gate_rank = t.kda_gate_rank();
  c.mla_heads = t.mla_heads();
  c.q_lora_rank = t.q_lora_rank();
  c.kv_lora_rank = t.kv_lora_rank();
  c.qk_nope_dim = t.qk_nope_dim();
  c.qk_rope_dim = t.qk_rope_dim();
  c.v_head_dim = t.v_head_dim();
  c.kv_norm_eps = t.kv_norm_eps();
  c.dense_width = t.dense_width();
  c.n_experts = t.n_experts();
  c.experts_per_token = t.experts_per_token();
  c.expert_width = t.expert_width();
  c.n_shared_experts = t.n_shared_experts();
  c.router_activation = static_cast<RouterActivation>(t.router_activation());
  c.router_renormalize = t.router_renormalize();
  c.router_scaling = t.router_scaling();
  c.router_groups = t.router_groups();
  c.router_topk_groups = t.router_topk_groups();
  c.bos_token = t.bos_token();
  c.eos_token = t.eos_token();
  c.pad_token = t.pad_token();
  RILL_RETURN_IF_ERROR(Validate(c));
  return c;
}

absl::StatusOr<Recipe> DecodeRecipe(const fb::Recipe& t) {
  if (t.name()->size() == 0 || t.name()->size() > kMaxNameBytes) {
    return Differs("length of the recipe's name", t.name()->size(),
                   absl::StrCat("1 to ", kMaxNameBytes));
  }
  if (t.formats()->size() != kRoleCount)
    return Differs("number of recipe formats", t.formats()->size(), kRoleCount);
  Recipe recipe;
  recipe.name = t.name()->str();
  for (int role = 0; role < kRoleCount; ++role)
    recipe.format[role] = static_cast<WeightFormat>(t.formats()->Get(role));
  RILL_RETURN_IF_ERROR(Validate(recipe));
  return recipe;
}

// Everything but the offset, which the layout decides.
absl::Status CheckTensor(const fb::Tensor& t, uint32_t index, const TensorSpec& spec) {
  const std::string what = absl::StrCat("tensor ", spec.name, ": ");
  if (View(t.name()) != spec.name) {
    return Differs(absl::StrCat("name of tensor ", index), View(t.name()).substr(0, kMaxNameBytes),
                   spec.name);
  }
  if (t.role() != static_cast<uint8_t>(spec.role)) {
    return Differs(what + "role", int{t.role()}, static_cast<int>(spec.role));
  }
  if (t.format() != static_cast<uint8_t>(spec.format)) {
    return Differs(what + "format", int{t.format()}, static_cast<int>(spec.format));
  }
  if (t.rows() != static_cast<uint64_t>(spec.rows))
    return Differs(what + "rows", t.rows(), spec.rows);
  if (t.cols() != static_cast<uint64_t>(spec.cols))
    return Differs(what + "cols", t.cols(), spec.cols);
  if (t.bytes() != spec.bytes) return Differs(what + "bytes", t.bytes(), spec.bytes);
  return absl::OkStatus();
}

absl::Status DecodeTensors(const fb::Model& model, Directory& d) {
  const auto& tensors = *model.tensors();
  const int64_t expected = CountTensors(d.config);
  if (tensors.size() != static_cast<uint64_t>(expected))
    return Differs("number of tensors", tensors.size(), expected);
  d.table = MakeTensorTable(d.config, d.recipe);
  d.offsets.reserve(d.table.size());
  d.crcs.reserve(d.table.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const fb::Tensor& t = *tensors.Get(i);
    RILL_RETURN_IF_ERROR(CheckTensor(t, i, d.table[i]));
    d.offsets.push_back(t.offset());
    d.crcs.push_back(t.crc());
  }
  return absl::OkStatus();
}

absl::Status DecodeBlobs(const fb::Model& model, Directory& d) {
  const auto& blobs = *model.blobs();
  if (blobs.size() > kMaxBlobs)
    return Differs("number of blobs", blobs.size(), absl::StrCat("at most ", kMaxBlobs));
  for (uint32_t i = 0; i < blobs.size(); ++i) {
    const fb::Blob& t = *blobs.Get(i);
    if (t.name()->size() == 0 || t.name()->size() > kMaxNameBytes) {
      return Differs(absl::StrCat("name length of blob ", i), t.name()->size(),
                     absl::StrCat("1 to ", kMaxNameBytes));
    }
    const std::string name = t.name()->str();
    const auto same = [&](const BlobRecord& blob) { return blob.name == name; };
    if (std::any_of(d.blobs.begin(), d.blobs.end(), same)) {
      return absl::InvalidArgumentError(absl::StrCat("two blobs named ", name));
    }
    d.blobs.push_back({name, t.offset(), t.bytes(), t.crc()});
  }
  return absl::OkStatus();
}

absl::Status CheckPlacement(const Directory& d, uint64_t directory_bytes, uint64_t file_bytes) {
  std::vector<uint64_t> blob_bytes;
  for (const BlobRecord& blob : d.blobs) blob_bytes.push_back(blob.bytes);
  RILL_ASSIGN_OR_RETURN(const FileLayout layout,
                        MakeFileLayout(directory_bytes, d.table, blob_bytes));
  for (size_t i = 0; i < d.table.size(); ++i) {
    if (d.offsets[i] == layout.tensor[i]) continue;
    return Differs(absl::StrCat("tensor ", d.table[i].name, ": offset"), d.offsets[i],
                   layout.tensor[i]);
  }
  for (size_t i = 0; i < d.blobs.size(); ++i) {
    if (d.blobs[i].offset == layout.blob[i]) continue;
    return Differs(absl::StrCat("blob ", d.blobs[i].name, ": offset"), d.blobs[i].offset,
                   layout.blob[i]);
  }
  if (file_bytes != layout.file_bytes)
    return Differs("size of the file", file_bytes, layout.file_bytes);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Directory> DecodeDirectory(std::string_view bytes, uint64_t file_bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                 kMaxDepth, kMaxTables);
  if (!fb::VerifyModelBuffer(verifier)) {
    return absl::DataLossError(
        absl::StrCat("the directory of ", bytes.size(), " bytes is not a sound FlatBuffer RILM"));
  }
  const fb::Model& model = *fb::GetModel(bytes.data());
  RILL_RETURN_IF_ERROR(CheckTag("matrix layout", model.matrix_layout(), kMatrixLayoutTag));
  RILL_RETURN_IF_ERROR(CheckTag("expert layout", model.expert_layout(), kExpertLayoutTag));
  Directory d;
  RILL_ASSIGN_OR_RETURN(d.config, DecodeConfig(*model.config()));
  RILL_ASSIGN_OR_RETURN(d.recipe, DecodeRecipe(*model.recipe()));
  RILL_RETURN_IF_ERROR(DecodeTensors(model, d));
  RILL_RETURN_IF_ERROR(DecodeBlobs(model, d));
  RILL_RETURN_IF_ERROR(CheckPlacement(d, bytes.size(), file_bytes));
  return d;
}

}  // namespace rill
