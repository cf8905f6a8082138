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
  return absl::OkStatus();
}

// The big matrices have one format, the plain ones are bf16 or f32.
absl::Status CheckFormats(size_t layer, const LayerWeights& w, WeightFormat format) {
  const auto formats = [&](absl::string_view what, std::initializer_list<WeightFormat> found, bool plain) {
    for (const WeightFormat f : found) {
      if (plain ? IsQuantized(f) : f != format) {
        return absl::UnimplementedError(absl::StrCat("fused decode step, layer ", layer, ": ", what, " is ", std::string(Name(f)), ", covered is ",
                                                     plain ? std::string("bf16 and f32") : std::string(Name(format))));
      }
    }
    return absl::OkStatus();
  };
  if (w.is_kda) {
    RILL_RETURN_IF_ERROR(formats("a KDA projection", {w.kda.q.format, w.kda.k.format, w.kda.v.format, w.kda.o.format}, false));
    RILL_RETURN_IF_ERROR(formats("a KDA gate", {w.kda.f_a.format, w.kda.f_b.format, w.kda.g_a.format, w.kda.g_b.format, w.kda.b.format}, true));
  } else {
    RILL_RETURN_IF_ERROR(formats("an MLA projection", {w.mla.q.format, w.mla.kv_a.format, w.mla.kv_b.format, w.mla.o.format}, false));
  }
  const GluWeights& glu = w.is_moe ? w.moe.shared : w.dense;
  if (glu.width > 0) RILL_RETURN_IF_ERROR(formats("a feed-forward matrix", {glu.gate.format, glu.up.format, glu.down.format}, false));
  if (!w.is_moe) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(formats("an expert", {w.moe.experts.format}, false));
  return formats("the router", {w.moe.router.format}, true);
}

int64_t ProjectedOf(const LayerWeights& w) {
  if (!w.is_kda) return AlignUp(w.mla.q.rows, kAlign) + AlignUp(w.mla.kv_a.rows, kAlign);
  const int64_t C = w.kda.heads * w.kda.head_dim;
  return 3 * AlignUp(C, kAlign) + 2 * AlignUp(w.kda.gate_rank, kAlign) + AlignUp(w.kda.heads, kAlign);
}
// Of the layers of a kind, the most.
int64_t Projected(const DecoderSpec& spec, bool kda) {
  int64_t most = 0;
  for (const LayerWeights& w : spec.layers) {
    if (w.is_kda == kda) most = std::max(most, ProjectedOf(w));
  }
  return most;
}

void AddInput(StepInputs& inputs, const MatrixView& m, int begin, int role) {
  const int i = inputs.count++;
  const bool first = i == 0 || i == inputs.plain;
  inputs.weight[i] = m;
  inputs.offset[i] = i == 0 ? begin : inputs.offset[i - 1] + static_cast<int>(AlignUp(inputs.weight[i - 1].rows, kAlign));
  inputs.end[i] = (first ? 0 : inputs.end[i - 1]) + static_cast<int>(m.rows);
  inputs.at[role] = inputs.offset[i];
}

// Whole units of 16 bytes; what is left of the last one comes when it is needed.
void AddAhead(Ahead& ahead, const void* data, uint64_t bytes, int warps) {
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0 || bytes > INT32_MAX) return;
  ahead = {static_cast<const char*>(data), static_cast<int>(bytes / 16 * 16), static_cast<int>(AlignUp(CeilDiv(static_cast<int64_t>(bytes), warps), 16))};
}

RecordOffsets OffsetsOf(const ExpertsView& x) {
  const ExpertLayout layout = MakeExpertLayout(x.format, x.hidden, x.width);
  const uint64_t begin[] = {layout.gate, layout.up, layout.down};
  RecordOffsets o = {};
  for (int i = 0; i < 3; ++i) {
    o.values[i] = static_cast<int64_t>(begin[i]);
    o.scales[i] = static_cast<int64_t>(begin[i] + (i < 2 ? ScalesOffset(x.format, x.width, x.hidden) : ScalesOffset(x.format, x.hidden, x.width)));
  }
  return o;
}

// `big` have roles 0 .., `plain` the ones behind. The first goes to place `begin`.
void AddInputs(StepInputs& inputs, int begin, std::initializer_list<const MatrixView*> big, std::initializer_list<const MatrixView*> plain) {
  inputs.plain = static_cast<int>(plain.size());
  int role = static_cast<int>(big.size());
  for (const MatrixView* m : plain) AddInput(inputs, *m, begin, role++);
  role = 0;
  for (const MatrixView* m : big) AddInput(inputs, *m, begin, role++);
}

// True when the rows of `plain` matrices can be multiplied by the hidden vector as threads keep it: eight values each.
bool GoWithNorm(std::initializer_list<const MatrixView*> plain, int blocks) {
  int64_t rows = 0;
  for (const MatrixView* m : plain) {
    if (m->format != WeightFormat::kBf16 || m->cols % 8 != 0 || m->cols > kKeptValues || reinterpret_cast<uintptr_t>(m->values) % 16 != 0) return false;
    rows += m->rows;
  }
  return rows <= static_cast<int64_t>(kMostPlainRows) * blocks;
}

StepKda MakeKda(const KdaWeights& w, const DecoderLayerState& state) {
  StepKda k = {};
  k.H = static_cast<int>(w.heads), k.K = static_cast<int>(w.head_dim), k.W = static_cast<int>(w.conv_width);
  k.rank = static_cast<int>(w.gate_rank), k.C = k.H * k.K;
  k.scale = w.scale, k.norm_eps = w.norm_eps;
  k.f_b = w.f_b, k.g_b = w.g_b;
  k.usual = k.H % 4 == 0 && k.K == kUsualK && k.W == kUsualTaps && k.rank == kUsualRank && k.f_b.format == WeightFormat::kBf16 && k.g_b.format == WeightFormat::kBf16;
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
  if (spec.vocab > (1 << 22)) return absl::UnimplementedError(absl::StrCat("fused decode step: a vocabulary of ", spec.vocab, ", covered is up to ", 1 << 22));
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerWeights& w = spec.layers[i];
    if (w.is_kda) RILL_RETURN_IF_ERROR(CheckKda(i, w.kda));
    if (!w.is_kda && w.mla.q_rank != 0) return Uncovered(i, "q_lora_rank", w.mla.q_rank, "0");
    if (w.is_moe) RILL_RETURN_IF_ERROR(CheckMoe(i, w.moe));
    RILL_RETURN_IF_ERROR(CheckFormats(i, w, FormatOf(spec)));
  }
  return absl::OkStatus();
}

ScratchSizes MeasureScratch(const DecoderSpec& spec) {
  ScratchSizes s = {};
  const auto grow = [](uint64_t& size, int64_t n) { size = std::max<uint64_t>(size, AlignUp(n, kAlign)); };
  grow(s.x, spec.hidden);
  grow(s.projected, Projected(spec, true) + Projected(spec, false));
  for (const LayerWeights& w : spec.layers) {
    if (w.is_kda) {
      grow(s.heads, w.kda.heads * w.kda.head_dim);
      grow(s.squares, w.kda.heads * (w.kda.head_dim / kStepSlice));
    } else {
      const MlaShape& shape = w.mla.shape;
      grow(s.mixed, ExpandShares(shape.latent) * shape.n_heads * shape.value);
      grow(s.absorbed, shape.n_heads * shape.latent);
      grow(s.partials, kMaxSlots * shape.n_heads * PartialFloats(shape.latent));
      grow(s.short_queries, shape.n_heads * (shape.latent + shape.rope));
      grow(s.short_row, shape.latent + shape.rope);
      grow(s.short_partials, kShortParts * shape.n_heads * PartialFloats(shape.latent));
      grow(s.short_values, shape.n_heads * shape.value);
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
  return sizeof(float) * (s.x + s.projected + s.heads + s.squares + s.mixed + s.logits + s.activated + s.activated_groups + s.absorbed + s.partials +
                          s.short_queries + s.short_row + s.short_partials + s.short_values);
}

StepScratch PlaceScratch(const ScratchSizes& s, void* memory) {
  float* next = static_cast<float*>(memory);
  const auto take = [&](uint64_t n) {
    float* p = next;
    next += n;
    return p;
  };
  StepScratch scratch = {};
  scratch.x = take(s.x), scratch.projected = take(s.projected), scratch.heads = take(s.heads), scratch.squares = take(s.squares);
  scratch.mixed = take(s.mixed), scratch.logits = take(s.logits);
  scratch.activated = take(s.activated), scratch.activated_groups = take(s.activated_groups);
  scratch.absorbed = take(s.absorbed), scratch.partials = take(s.partials);
  scratch.short_queries = take(s.short_queries), scratch.short_row = take(s.short_row);
  scratch.short_partials = take(s.short_partials), scratch.short_values = take(s.short_values);
  return scratch;
}

int PassRows(int max_units, int matrices, int64_t cols, int ragged) {
  const int tiles = std::min(max_units / PartsOf(static_cast<int>(cols)), kMostTiles) / matrices - ragged;
  return std::max(1, tiles) * kTileRows;
}

// What a layer must know of its step.
struct LayerPlace {
  int blocks, max_units;            // of the grid; of a job
  bool slots;                       // weights come by slots
  int mla_inputs;                   // where they begin among the projected ones
  unsigned kda_before, mla_before, moe_before;  // layers of the kind
};

StepLayer MakeStepLayer(const LayerWeights& w, const DecoderLayerState& state, const LayerPlace& place) {
  const int64_t hidden = w.is_kda ? w.kda.q.cols : w.mla.q.cols;
  const int max_units = place.max_units, warps = place.blocks * kFeederWarps;  // that share the asking ahead
  StepLayer l = {};
  l.is_kda = w.is_kda, l.is_moe = w.is_moe, l.x_mark = 1;
  l.input_norm = w.input_norm.f32(), l.post_norm = w.post_norm.f32();
  if (w.is_kda) {
    AddInputs(l.inputs, 0, {&w.kda.q, &w.kda.k, &w.kda.v}, {&w.kda.f_a, &w.kda.g_a, &w.kda.b});
    l.inputs.with_norm = GoWithNorm({&w.kda.f_a, &w.kda.g_a, &w.kda.b}, place.blocks);
    l.o = w.kda.o;
    l.kda = MakeKda(w.kda, state);
    l.kda.use = place.kda_before;
  } else {
    AddInputs(l.inputs, place.mla_inputs, {&w.mla.q, &w.mla.kv_a}, {});
    l.inputs.with_norm = true;  // there are none
    l.o = w.mla.o;
    l.mla = {w.mla.shape, w.mla.scale, w.mla.norm_eps, w.mla.kv_norm.f32(), w.mla.kv_b, state.mla_cache, place.mla_before};
  }
  l.glu = w.is_moe ? w.moe.shared : w.dense;
  if (w.is_moe) {
    const MoeWeights& m = w.moe;
    l.moe = {m.activation, m.top_k, m.n_groups, m.topk_groups, m.renormalize, m.scaling, m.router, m.router_bias.f32(), m.experts,
             OffsetsOf(m.experts), GoWithNorm({&m.router}, place.blocks),
             m.router.rows <= kMostQuickExperts && m.topk_groups == m.n_groups && m.activation == RouterActivation::kSigmoid, place.moe_before};
  }
  l.window.inputs = PassRows(max_units, 1, hidden, kMaxInputs);
  l.window.output = PassRows(max_units, 1, l.o.cols, 1);
  l.window.glu = PassRows(max_units, 2, hidden, 1);
  l.window.experts = std::max(1, std::min(max_units / PartsOf(static_cast<int>(hidden)), kMostTiles) / kTaskTiles);
  if (w.is_moe) {
    l.window.down = PassRows(max_units, w.moe.top_k + (w.moe.shared.width == w.moe.experts.width), w.moe.experts.width, 1);
    if (w.moe.shared.width > 0) l.window.down = std::min(l.window.down, PassRows(max_units, 1, w.moe.shared.width, 1));
  }
  else l.window.down = PassRows(max_units, 1, w.dense.width, 1);
  const auto ask = [&](Ahead* ahead, int* n, const MatrixView& m) {
    if (m.values == nullptr) return;
    AddAhead(ahead[(*n)++], m.values, ValuesBytes(m.format, m.rows, m.cols), warps);
    if (m.scales != nullptr) AddAhead(ahead[(*n)++], m.scales, ScalesBytes(m.format, m.rows, m.cols), warps);
  };
  int n = 0;
  for (int i = 0; i < l.inputs.plain; ++i) ask(l.plain, &n, l.inputs.weight[i]);
  n = 0;
  if (!w.is_kda) {
    ask(l.ahead, &n, l.mla.kv_b);
    AddAhead(l.ahead[n++], l.mla.kv_norm, sizeof(float) * l.mla.shape.latent, warps);
  } else if (!place.slots || !l.kda.usual) {  // else the slots bring it, and asking twice costs 1.4 % of a step
    for (const MatrixView* m : {&l.kda.f_b, &l.kda.g_b}) ask(l.ahead, &n, *m);
    AddAhead(l.ahead[n++], l.kda.state, sizeof(float) * l.kda.C * l.kda.K, warps);
  }
  ask(l.ahead, &n, l.moe.router);
  if (w.is_kda) return l;
  n = 0;
  for (const MatrixView* m : {&l.o, &l.glu.gate, &l.glu.up}) ask(l.behind, &n, *m);
  return l;
}

std::vector<StepLayer> MakeStepLayers(const DecoderSpec& spec, int blocks, const StepParams& params) {
  LayerPlace place = {blocks, params.max_units, params.slots > 0, static_cast<int>(Projected(spec, true)), 0, 0, 0};
  std::vector<StepLayer> layers;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    layers.push_back(MakeStepLayer(spec.layers[i], spec.states[i], place));
    place.kda_before += spec.layers[i].is_kda, place.mla_before += !spec.layers[i].is_kda, place.moe_before += spec.layers[i].is_moe;
  }
  return layers;
}

int64_t FirstWgmmaPosition(const DecoderSpec& spec, int blocks) {
  int64_t heads = 1;
  for (const LayerWeights& w : spec.layers) {
    if (!w.is_kda) heads = std::max(heads, w.mla.shape.n_heads);
  }
  return std::max<int64_t>(1, std::min(blocks, kMaxSlots) / CeilDiv(heads, kTileHeads)) * kWgmmaRows;
}

int64_t HalfHeadsUntil(const DecoderSpec& spec, int blocks) {
  constexpr int kManyBlocks = 64;
  return blocks < kManyBlocks ? 0 : FirstWgmmaPosition(spec, blocks);
}

// A barrier behind each phase but the last, and none where marks do: behind a layer's inputs and behind the router, and all through attention by heads.
// decoder_walk.cuh has the same.
StepCounts CountStep(const DecoderSpec& spec) {
  StepCounts n = {};
  for (const LayerWeights& w : spec.layers) {
    n.barriers += (w.is_kda ? 2 : 2 + kShortBarriersLess) + 2;
    n.kda += w.is_kda, n.mla += !w.is_kda, n.moe += w.is_moe;
  }
  return n;
}

void PlaceStep(int64_t position, StepParams* params) {
  params->position = position;
  params->is_short = position < params->short_until;
  params->tile_heads = position < params->half_until ? kTileHeads / 2 : kTileHeads;
}

void AdvanceParams(const StepCounts& counts, unsigned blocks, StepParams* params) {
  params->barrier_base += counts.Barriers(params->is_short) * blocks;
  params->kda_uses += counts.kda, params->mla_uses += counts.mla, params->moe_uses += counts.moe;
  if (params->is_short) params->short_uses += counts.mla;
}

}  // namespace rill::cuda
