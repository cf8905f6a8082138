#include "model/convert/kimi_linear.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/base/status.h"
#include "model/convert/strict_json.h"

namespace rill {
namespace {

struct NamePair {
  absl::string_view ours, theirs;
};

constexpr NamePair kTopNames[] = {
    {"embedding", kEmbeddingName}, {"final_norm", "model.norm.weight"}, {"lm_head", kLmHeadName}};

constexpr absl::string_view kOurLayer = "layers.";
constexpr absl::string_view kTheirLayer = "model.layers.";

constexpr NamePair kLayerNames[] = {
    {"input_norm", "input_layernorm.weight"},
    {"post_norm", "post_attention_layernorm.weight"},
    {"kda.q", "self_attn.q_proj.weight"},
    {"kda.k", "self_attn.k_proj.weight"},
    {"kda.v", "self_attn.v_proj.weight"},
    {"kda.conv_q", "self_attn.q_conv1d.weight"},
    {"kda.conv_k", "self_attn.k_conv1d.weight"},
    {"kda.conv_v", "self_attn.v_conv1d.weight"},
    {"kda.f_a", "self_attn.f_a_proj.weight"},
    {"kda.f_b", "self_attn.f_b_proj.weight"},
    {"kda.g_a", "self_attn.g_a_proj.weight"},
    {"kda.g_b", "self_attn.g_b_proj.weight"},
    {"kda.b", "self_attn.b_proj.weight"},
    {"kda.a_log", "self_attn.A_log"},
    {"kda.dt_bias", "self_attn.dt_bias"},
    {"kda.o_norm", "self_attn.o_norm.weight"},
    {"kda.o", "self_attn.o_proj.weight"},
    {"mla.q", "self_attn.q_proj.weight"},
    {"mla.q_a", "self_attn.q_a_proj.weight"},
    {"mla.q_norm", "self_attn.q_a_layernorm.weight"},
    {"mla.q_b", "self_attn.q_b_proj.weight"},
    {"mla.kv_a", "self_attn.kv_a_proj_with_mqa.weight"},
    {"mla.kv_norm", "self_attn.kv_a_layernorm.weight"},
    {"mla.kv_b", "self_attn.kv_b_proj.weight"},
    {"mla.o", "self_attn.o_proj.weight"},
    {"ffn.gate", "mlp.gate_proj.weight"},
    {"ffn.up", "mlp.up_proj.weight"},
    {"ffn.down", "mlp.down_proj.weight"},
    {"moe.router", "block_sparse_moe.gate.weight"},
    {"moe.router_bias", "block_sparse_moe.gate.e_score_correction_bias"},
    {"moe.shared.gate", "block_sparse_moe.shared_experts.gate_proj.weight"},
    {"moe.shared.up", "block_sparse_moe.shared_experts.up_proj.weight"},
    {"moe.shared.down", "block_sparse_moe.shared_experts.down_proj.weight"},
};

constexpr absl::string_view kOurExpert = "moe.expert.";
constexpr absl::string_view kTheirExpert = "block_sparse_moe.experts.";

// In the order of a record (kernels/ops/matrix.h).
constexpr NamePair kExpertParts[] = {
    {"gate", "w1.weight"}, {"up", "w3.weight"}, {"down", "w2.weight"}};

struct Numbered {
  int64_t number;
  absl::string_view rest;  // after the dot; empty when nothing follows the number
};

// "12.kda.q" -> 12 and "kda.q". Only the canonical spelling of a number counts: "07" is another
// name.
std::optional<Numbered> SplitNumber(absl::string_view text) {
  const size_t dot = text.find('.');
  const absl::string_view digits = text.substr(0, dot);
  int64_t number = 0;
  if (!absl::SimpleAtoi(digits, &number) || number < 0 || absl::StrCat(number) != digits)
    return std::nullopt;
  return Numbered{number,
                  dot == absl::string_view::npos ? absl::string_view() : text.substr(dot + 1)};
}

// Released shape first. [n] for vectors; A_log is stored as [1, 1, n, 1], a depthwise convolution
// as [channels, 1, taps].
std::vector<std::vector<uint64_t>> ShapesOf(absl::string_view suffix, const TensorSpec& spec) {
  const auto rows = static_cast<uint64_t>(spec.rows), cols = static_cast<uint64_t>(spec.cols);
  if (suffix == "kda.a_log") return {{1, 1, rows * cols, 1}, {rows * cols}};
  if (absl::StartsWith(suffix, "kda.conv_")) return {{rows, 1, cols}, {rows, cols}};
  if (spec.role == Role::kVector) return {{rows * cols}};
  return {{rows, cols}};
}

std::vector<SourceTensor> ExpertSources(int64_t layer, int64_t expert, const TensorSpec& spec) {
  std::vector<SourceTensor> sources;
  for (const NamePair& part : kExpertParts) {
    const bool down = part.ours == "down";  // [hidden, width]; the others are [width, hidden]
    const int64_t rows = down ? spec.cols : spec.rows, cols = down ? spec.rows : spec.cols;
    sources.push_back(
        {absl::StrCat(kTheirLayer, layer, ".", kTheirExpert, expert, ".", part.theirs),
         rows,
         cols,
         {{static_cast<uint64_t>(rows), static_cast<uint64_t>(cols)}}});
  }
  return sources;
}

std::string RillExpertName(int64_t layer, absl::string_view suffix) {
  const auto expert = SplitNumber(suffix);
  if (!expert) return "";
  for (const NamePair& part : kExpertParts) {
    if (part.theirs == expert->rest) {
      return absl::StrCat(kOurLayer, layer, ".", kOurExpert, expert->number, ".", part.ours);
    }
  }
  return "";
}

std::string ShapesString(const std::vector<std::vector<uint64_t>>& shapes) {
  std::string text;
  for (const auto& shape : shapes)
    absl::StrAppend(&text, text.empty() ? "" : " or ", ShapeString(shape));
  return text;
}

absl::Status CheckTensor(const Checkpoint& checkpoint, const CheckpointTensor& t,
                         const SourceTensor& want) {
  const std::string where = absl::StrCat("tensor ", want.name, " (", checkpoint.ShardName(t), ")");
  const std::string& dtype = t.entry.dtype;
  if (dtype != "F32" && dtype != "BF16" && dtype != "F16") {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": type ", dtype, " holds no weights, F32, BF16 and F16 do"));
  }
  for (const auto& shape : want.shapes) {
    if (shape == t.entry.shape) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(where, ": shape ", ShapeString(t.entry.shape),
                                                 ", config.json asks for ",
                                                 ShapesString(want.shapes)));
}

absl::Status Surplus(const ModelConfig& config, const Checkpoint& checkpoint,
                     const CheckpointTensor& t, size_t more) {
  const std::string ours = RillNameOf(config, t.entry.name);
  std::string why = ours.empty() ? "is not a tensor of Kimi Linear"
                                 : absl::StrCat("is surplus: config.json has no place for ", ours);
  if (more > 0) absl::StrAppend(&why, " (and ", more, " more)");
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", Printable(t.entry.name), " (", checkpoint.ShardName(t), ") ", why));
}

struct Binder {
  const Checkpoint& checkpoint;
  std::vector<bool> used;
  std::string first_missing;
  size_t n_missing = 0;

  absl::Status Bind(const SourceTensor& source, BoundTensor& bound) {
    const CheckpointTensor* t = checkpoint.Find(source.name);
    if (t == nullptr) {
      if (n_missing++ == 0) first_missing = source.name;
      return absl::OkStatus();
    }
    RILL_RETURN_IF_ERROR(CheckTensor(checkpoint, *t, source));
    used[t - checkpoint.tensors().data()] = true;
    bound.parts.push_back({t, source.rows, source.cols});
    return absl::OkStatus();
  }

  absl::Status CheckMissing() const {
    if (n_missing == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", first_missing, " is missing from the checkpoint",
                     n_missing > 1 ? absl::StrCat(" (and ", n_missing - 1, " more)") : ""));
  }

  absl::Status CheckSurplus(const ModelConfig& config) const {
    const CheckpointTensor* first = nullptr;
    size_t n = 0;
    for (size_t i = 0; i < used.size(); ++i) {
      if (used[i]) continue;
      if (n++ == 0) first = &checkpoint.tensors()[i];
    }
    return n == 0 ? absl::OkStatus() : Surplus(config, checkpoint, *first, n - 1);
  }
};

}  // namespace

absl::StatusOr<std::vector<SourceTensor>> SourcesOf(const ModelConfig& config,
                                                    const TensorSpec& spec) {
  for (const NamePair& pair : kTopNames) {
    if (pair.ours != spec.name) continue;
    SourceTensor source{std::string(pair.theirs), spec.rows, spec.cols, ShapesOf(pair.ours, spec)};
    return std::vector<SourceTensor>{std::move(source)};
  }
  absl::string_view rest = spec.name;
  const auto layer = absl::ConsumePrefix(&rest, kOurLayer) ? SplitNumber(rest) : std::nullopt;
  if (layer && absl::StartsWith(layer->rest, kOurExpert)) {
    const auto expert = SplitNumber(absl::StripPrefix(layer->rest, kOurExpert));
    if (expert && expert->rest.empty()) return ExpertSources(layer->number, expert->number, spec);
  }
  for (const NamePair& pair : kLayerNames) {
    if (!layer || pair.ours != layer->rest) continue;
    SourceTensor source{absl::StrCat(kTheirLayer, layer->number, ".", pair.theirs), spec.rows,
                        spec.cols, ShapesOf(pair.ours, spec)};
    return std::vector<SourceTensor>{std::move(source)};
  }
  return absl::InternalError(absl::StrCat("the checkpoint has no name for tensor ", spec.name));
}

std::string RillNameOf(const ModelConfig& config, absl::string_view checkpoint_name) {
  for (const NamePair& pair : kTopNames) {
    if (pair.theirs == checkpoint_name) return std::string(pair.ours);
  }
  if (!absl::ConsumePrefix(&checkpoint_name, kTheirLayer)) return "";
  const auto layer = SplitNumber(checkpoint_name);
  if (!layer) return "";
  if (absl::string_view rest = layer->rest; absl::ConsumePrefix(&rest, kTheirExpert)) {
    return RillExpertName(layer->number, rest);
  }
  // q_proj and o_proj are names of both mixers: the config says which one the layer has.
  const bool is_mla =
      layer->number < config.n_layers() && config.layers[layer->number].mixer == MixerKind::kMla;
  std::string name;
  for (const NamePair& pair : kLayerNames) {
    if (pair.theirs != layer->rest) continue;
    if (name.empty() || (is_mla && absl::StartsWith(pair.ours, "mla."))) {
      name = absl::StrCat(kOurLayer, layer->number, ".", pair.ours);
    }
  }
  return name;
}

absl::StatusOr<std::vector<BoundTensor>> BindCheckpoint(const ModelConfig& config,
                                                        const std::vector<TensorSpec>& table,
                                                        const Checkpoint& checkpoint,
                                                        const CheckpointTensor** tied_head) {
  Binder binder{checkpoint, std::vector<bool>(checkpoint.tensors().size())};
  std::vector<BoundTensor> bound;
  for (const TensorSpec& spec : table) {
    RILL_ASSIGN_OR_RETURN(const std::vector<SourceTensor> sources, SourcesOf(config, spec));
    BoundTensor& tensor = bound.emplace_back(BoundTensor{spec, {}});
    for (const SourceTensor& source : sources) RILL_RETURN_IF_ERROR(binder.Bind(source, tensor));
  }
  RILL_RETURN_IF_ERROR(binder.CheckMissing());
  *tied_head = config.tie_embeddings ? checkpoint.Find(kLmHeadName) : nullptr;
  if (*tied_head != nullptr) binder.used[*tied_head - checkpoint.tensors().data()] = true;
  RILL_RETURN_IF_ERROR(binder.CheckSurplus(config));
  return bound;
}

}  // namespace rill
