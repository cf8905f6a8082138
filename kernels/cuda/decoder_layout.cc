#include "kernels/cuda/decoder_layout.h"

#include <algorithm>
#include <initializer_list>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"

namespace rill::cuda {
namespace {

constexpr int64_t kAlign = 64;  // floats

absl::Status Uncovered(size_t layer, absl::string_view what, int64_t value, absl::string_view covered) {
  return absl::UnimplementedError(
      absl::StrCat("fused decode step, layer ", layer, ": ", what, " is ", value, ", covered is ", covered));
}

absl::Status CheckKda(size_t layer, const KdaWeights& w) {
  if (w.head_dim % kStepSlice != 0 || w.head_dim > 256) {
    return Uncovered(layer, "KDA head size", w.head_dim, "a multiple of 32 up to 256");
  }
  if (w.conv_width > 8) return Uncovered(layer, "convolution width", w.conv_width, "up to 8");
  return absl::OkStatus();
}

absl::Status CheckMoe(size_t layer, const MoeWeights& w) {
  if (w.top_k > kMaxTopK) return Uncovered(layer, "top_k", w.top_k, absl::StrCat("up to ", kMaxTopK));
  if (w.router.rows > kMaxExperts) {
    return Uncovered(layer, "number of experts", w.router.rows, absl::StrCat("up to ", kMaxExperts));
  }
  if (w.n_groups > 256) return Uncovered(layer, "number of expert groups", w.n_groups, "up to 256");
  if (IsQuantized(w.router.format)) return Uncovered(layer, "router format", static_cast<int>(w.router.format), "bf16 or f32");
  return absl::OkStatus();
}

int64_t Projected(const LayerWeights& w) {
  if (!w.is_kda) return AlignUp(w.mla.q.rows, kAlign) + AlignUp(w.mla.kv_a.rows, kAlign);
  const int64_t C = w.kda.heads * w.kda.head_dim;
  return 3 * AlignUp(C, kAlign) + 2 * AlignUp(w.kda.gate_rank, kAlign) + AlignUp(w.kda.heads, kAlign);
}

void AddInput(StepInputs& inputs, const MatrixView& m, int role) {
  const int i = inputs.count++;
  const bool q4 = m.format == WeightFormat::kQ4;
  const bool first = i == 0 || (q4 && i == inputs.plain);
  inputs.weight[i] = m;
  inputs.offset[i] = i == 0 ? 0 : inputs.offset[i - 1] + static_cast<int>(AlignUp(inputs.weight[i - 1].rows, kAlign));
  inputs.end[i] = (first ? 0 : inputs.end[i - 1]) + static_cast<int>(q4 ? CeilDiv(m.rows, 2) : m.rows);
  inputs.at[role] = inputs.offset[i];
  inputs.plain += !q4;
}

void AddInputs(StepInputs& inputs, std::initializer_list<const MatrixView*> by_role) {
  for (const bool q4 : {false, true}) {
    int role = 0;
    for (const MatrixView* m : by_role) {
      if ((m->format == WeightFormat::kQ4) == q4) AddInput(inputs, *m, role);
      ++role;
    }
  }
}

StepKda MakeKda(const KdaWeights& w, const DecoderLayerState& state) {
  StepKda k = {};
  k.H = static_cast<int>(w.heads), k.K = static_cast<int>(w.head_dim), k.W = static_cast<int>(w.conv_width);
  k.rank = static_cast<int>(w.gate_rank), k.C = k.H * k.K;
  k.scale = w.scale, k.norm_eps = w.norm_eps;
  k.f_b = w.f_b, k.g_b = w.g_b;
  k.conv[0] = w.conv_q.f32(), k.conv[1] = w.conv_k.f32(), k.conv[2] = w.conv_v.f32();
  k.a_log = w.a_log.f32(), k.dt_bias = w.dt_bias.f32(), k.o_norm = w.o_norm.f32();
  k.state = state.kda_state.f32(), k.tail = state.conv_tail.f32();
  k.ring_k = state.ring.k.f32(), k.ring_u = state.ring.u.f32(), k.ring_g = state.ring.g.f32();
  k.conv_ring = state.conv_ring.f32();
  k.ring_tokens = state.ring.k.empty() ? 0 : state.ring.k.dim[0];
  return k;
}

}  // namespace

absl::Status CheckSpec(const DecoderSpec& spec) {
  if (spec.layers.size() != spec.states.size() || spec.layers.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("fused decode step: ", spec.layers.size(), " layers and ",
                                                   spec.states.size(), " states"));
  }
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerWeights& w = spec.layers[i];
    if (w.is_kda) RILL_RETURN_IF_ERROR(CheckKda(i, w.kda));
    if (!w.is_kda && w.mla.q_rank != 0) return Uncovered(i, "q_lora_rank", w.mla.q_rank, "0");
    if (w.is_moe) RILL_RETURN_IF_ERROR(CheckMoe(i, w.moe));
  }
  return absl::OkStatus();
}

ScratchSizes MeasureScratch(const DecoderSpec& spec) {
  ScratchSizes s = {};
  const auto grow = [](uint64_t& size, int64_t n) { size = std::max<uint64_t>(size, AlignUp(n, kAlign)); };
  grow(s.x, spec.hidden);
  for (const LayerWeights& w : spec.layers) {
    grow(s.projected, Projected(w));
    if (w.is_kda) {
      grow(s.mixed, w.kda.heads * w.kda.head_dim);
      grow(s.mixed_groups, w.kda.heads * w.kda.head_dim / kGroup * (kStagedGroupBytes / 4));
      grow(s.squares, w.kda.heads * (w.kda.head_dim / kStepSlice));
    } else {
      const MlaShape& shape = w.mla.shape;
      grow(s.mixed, shape.n_heads * shape.value);
      grow(s.absorbed, shape.n_heads * shape.latent);
      grow(s.partials, kMaxSlots * shape.n_heads * (shape.latent + 2));
    }
    if (w.is_moe) {
      grow(s.logits, w.moe.router.rows);
      grow(s.activated, w.moe.top_k * w.moe.experts.width + w.moe.shared.width);
      grow(s.activated_groups, w.moe.top_k * GroupsPerRow(w.moe.experts.width) * (kStagedGroupBytes / 4));
    } else {
      grow(s.activated, w.dense.width);
    }
  }
  return s;
}

uint64_t ScratchBytes(const ScratchSizes& s) {
  return sizeof(float) * (s.x + s.projected + s.mixed + s.squares + s.logits + s.activated + s.mixed_groups +
                          s.activated_groups + s.absorbed + s.partials);
}

StepScratch PlaceScratch(const ScratchSizes& s, void* memory) {
  float* next = static_cast<float*>(memory);
  const auto take = [&](uint64_t n) {
    float* p = next;
    next += n;
    return p;
  };
  StepScratch scratch = {};
  scratch.x = take(s.x), scratch.projected = take(s.projected), scratch.mixed = take(s.mixed);
  scratch.squares = take(s.squares), scratch.logits = take(s.logits), scratch.activated = take(s.activated);
  scratch.mixed_groups = take(s.mixed_groups), scratch.activated_groups = take(s.activated_groups);
  scratch.absorbed = take(s.absorbed), scratch.partials = take(s.partials);
  return scratch;
}

StepLayer MakeStepLayer(const LayerWeights& w, const DecoderLayerState& state) {
  StepLayer l = {};
  l.is_kda = w.is_kda, l.is_moe = w.is_moe;
  l.input_norm = w.input_norm.f32(), l.post_norm = w.post_norm.f32();
  if (w.is_kda) {
    AddInputs(l.inputs, {&w.kda.q, &w.kda.k, &w.kda.v, &w.kda.f_a, &w.kda.g_a, &w.kda.b});
    l.o = w.kda.o;
    l.kda = MakeKda(w.kda, state);
  } else {
    AddInputs(l.inputs, {&w.mla.q, &w.mla.kv_a});
    l.o = w.mla.o;
    l.mla = {w.mla.shape, w.mla.scale, w.mla.norm_eps, w.mla.kv_norm.f32(), w.mla.kv_b, state.mla_cache};
  }
  l.glu = w.is_moe ? w.moe.shared : w.dense;
  if (w.is_moe) {
    const MoeWeights& m = w.moe;
    l.moe = {m.activation, m.top_k, m.n_groups, m.topk_groups, m.renormalize, m.scaling, m.router, m.router_bias.f32(), m.experts};
  }
  const auto note = [&](const MatrixView& m) {
    if (m.values != nullptr) (IsQuantized(m.format) ? l.needs_q : l.needs_f) = true;
  };
  for (int i = 0; i < l.inputs.count; ++i) note(l.inputs.weight[i]);
  for (const MatrixView* m : {&l.o, &l.kda.f_b, &l.kda.g_b, &l.mla.kv_b, &l.glu.gate, &l.glu.up, &l.glu.down, &l.moe.router}) note(*m);
  if (w.is_moe) (IsQuantized(w.moe.experts.format) ? l.needs_q : l.needs_f) = true;
  return l;
}

// One behind each phase but the last; decoder.cu walks the same phases.
int CountBarriers(const DecoderSpec& spec) {
  int n = 0;
  for (const LayerWeights& w : spec.layers) n += (w.is_kda ? 3 : 5) + (w.is_moe ? 3 : 2);
  return n;
}

}  // namespace rill::cuda
