// The tensors of a config as the structs operators take: names on the left, shapes from tensor_table.h on the right.
#include <utility>

#include "kernels/base/status.h"
#include "model/model.h"

namespace rill {
namespace {

// Looks tensors of one layer up by their short names and keeps the first error.
class Binder {
 public:
  Binder(const Weights& weights, std::string prefix) : weights_(weights), prefix_(std::move(prefix)) {}

  MatrixView Matrix(std::string_view name, int64_t rows, int64_t cols) {
    return Take(weights_.Matrix(prefix_ + std::string(name), rows, cols));
  }
  TensorView Vector(std::string_view name, int64_t n) { return Take(weights_.Vector(prefix_ + std::string(name), n)); }
  TensorView Table(std::string_view name, int64_t rows, int64_t cols) {
    const TensorView flat = Vector(name, rows * cols);
    return MakeView(flat.data, flat.dtype, rows, cols);
  }
  ExpertsView Experts(std::string_view name, int n, int64_t hidden, int64_t width) {
    return Take(weights_.Experts(prefix_ + std::string(name), n, hidden, width));
  }
  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  T Take(absl::StatusOr<T> found) {
    if (found.ok()) return *std::move(found);
    if (status_.ok()) status_ = found.status();
    return T{};
  }

  const Weights& weights_;
  std::string prefix_;
  absl::Status status_;
};

KdaWeights BindKda(Binder& b, const ModelConfig& c) {
  const int64_t D = c.hidden_size, C = c.kda_width(), R = c.kda_gate_rank, W = c.conv_width, H = c.kda_heads;
  KdaWeights w{};
  w.heads = H, w.head_dim = c.kda_head_dim, w.conv_width = W, w.gate_rank = R;
  w.scale = c.kda_scale(), w.norm_eps = c.rms_norm_eps;
  w.q = b.Matrix("kda.q", C, D), w.k = b.Matrix("kda.k", C, D), w.v = b.Matrix("kda.v", C, D);
  w.f_a = b.Matrix("kda.f_a", R, D), w.g_a = b.Matrix("kda.g_a", R, D);
  w.f_b = b.Matrix("kda.f_b", C, R), w.g_b = b.Matrix("kda.g_b", C, R);
  w.b = b.Matrix("kda.b", H, D), w.o = b.Matrix("kda.o", D, C);
  w.conv_q = b.Table("kda.conv_q", C, W), w.conv_k = b.Table("kda.conv_k", C, W), w.conv_v = b.Table("kda.conv_v", C, W);
  w.a_log = b.Vector("kda.a_log", H), w.dt_bias = b.Table("kda.dt_bias", H, c.kda_head_dim);
  w.o_norm = b.Vector("kda.o_norm", c.kda_head_dim);
  return w;
}

MlaWeights BindMla(Binder& b, const ModelConfig& c) {
  const int64_t D = c.hidden_size, H = c.mla_heads, Q = c.q_lora_rank, query = H * (c.qk_nope_dim + c.qk_rope_dim);
  MlaWeights w{};
  w.shape = c.mla_shape(), w.scale = c.mla_scale(), w.norm_eps = c.kv_norm_eps, w.q_rank = Q;
  if (Q > 0) {
    w.q_a = b.Matrix("mla.q_a", Q, D), w.q_norm = b.Vector("mla.q_norm", Q), w.q = b.Matrix("mla.q_b", query, Q);
  } else {
    w.q = b.Matrix("mla.q", query, D);
  }
  w.kv_a = b.Matrix("mla.kv_a", c.mla_row(), D), w.kv_norm = b.Vector("mla.kv_norm", c.kv_lora_rank);
  w.kv_b = b.Matrix("mla.kv_b", H * (c.qk_nope_dim + c.v_head_dim), c.kv_lora_rank);
  w.o = b.Matrix("mla.o", D, H * c.v_head_dim);
  return w;
}

GluWeights BindGlu(Binder& b, const std::string& name, int64_t hidden, int64_t width) {
  return {width, b.Matrix(name + ".gate", width, hidden), b.Matrix(name + ".up", width, hidden),
          b.Matrix(name + ".down", hidden, width)};
}

MoeWeights BindMoe(Binder& b, const ModelConfig& c) {
  MoeWeights w{};
  w.activation = c.router_activation, w.top_k = static_cast<int>(c.experts_per_token);
  w.n_groups = static_cast<int>(c.router_groups), w.topk_groups = static_cast<int>(c.router_topk_groups);
  w.renormalize = c.router_renormalize, w.scaling = c.router_scaling;
  w.router = b.Matrix("moe.router", c.n_experts, c.hidden_size), w.router_bias = b.Vector("moe.router_bias", c.n_experts);
  w.experts = b.Experts("moe.expert", static_cast<int>(c.n_experts), c.hidden_size, c.expert_width);
  if (c.n_shared_experts > 0) w.shared = BindGlu(b, "moe.shared", c.hidden_size, c.n_shared_experts * c.expert_width);
  return w;
}

}  // namespace

absl::Status Model::Bind() {
  const ModelConfig& c = config_;
  weight_traffic_ = MeasureWeightTraffic(c, recipe_);
  Binder top(*weights_, "");
  bound_.embedding = top.Matrix("embedding", c.vocab_size, c.hidden_size);
  bound_.final_norm = top.Vector("final_norm", c.hidden_size);
  bound_.lm_head = c.tie_embeddings ? bound_.embedding : top.Matrix("lm_head", c.vocab_size, c.hidden_size);
  RILL_RETURN_IF_ERROR(top.status());
  bound_.layers.resize(c.layers.size());
  for (size_t l = 0; l < c.layers.size(); ++l) {
    Binder b(*weights_, absl::StrCat("layers.", l, "."));
    LayerWeights& w = bound_.layers[l];
    w.is_kda = c.layers[l].mixer == MixerKind::kKda, w.is_moe = c.layers[l].ffn == FfnKind::kMoe;
    w.input_norm = b.Vector("input_norm", c.hidden_size), w.post_norm = b.Vector("post_norm", c.hidden_size);
    if (w.is_kda) w.kda = BindKda(b, c);
    if (!w.is_kda) w.mla = BindMla(b, c);
    if (w.is_moe) w.moe = BindMoe(b, c);
    if (!w.is_moe) w.dense = BindGlu(b, "ffn", c.hidden_size, c.dense_width);
    RILL_RETURN_IF_ERROR(b.status());
  }
  return absl::OkStatus();
}

}  // namespace rill
