#include "model/graph/forward.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "model/graph/replay.h"
#include "model/graph/stepped_pass.h"
#include "model/layers/glu.h"
#include "model/layers/kda.h"
#include "model/layers/mla.h"
#include "model/layers/moe.h"
#include "model/layers/pass.h"

namespace rill {
namespace {

DecoderSpec MakeDecoderSpec(const Model& model, const SessionShape& shape, const TensorView& logits,
                            absl::Span<const DecoderLayerState> states) {
  const BoundWeights& w = model.weights();
  const ModelConfig& c = model.config();
  return {c.hidden_size, c.vocab_size, shape.max_tokens, c.rms_norm_eps, w.embedding, w.final_norm, w.lm_head,
          w.layers, states, logits};
}

TensorView FirstRows(const TensorView& v, int64_t n) { return v.Rows(0, n); }

}  // namespace

Forward::Forward(std::shared_ptr<const Model> model, SequenceState& state, const SessionShape& shape)
    : model_(std::move(model)), device_(model_->device()), state_(state), shape_(shape) {}

absl::StatusOr<std::unique_ptr<Forward>> Forward::Create(std::shared_ptr<const Model> model, SequenceState& state,
                                                         const SessionShape& shape,
                                                         std::shared_ptr<BlockPool> logits) {
  RILL_RETURN_IF_ERROR(Validate(shape));
  std::unique_ptr<Forward> forward(new Forward(std::move(model), state, shape));
  RILL_RETURN_IF_ERROR(forward->Allocate(std::move(logits)));
  return forward;
}

absl::Status Forward::Allocate(std::shared_ptr<BlockPool> logits) {
  Scratch counting(nullptr);
  PassBuffers::Take(counting, model_->config(), shape_);
  RILL_ASSIGN_OR_RETURN(workspace_, Buffer::Allocate(device_, counting.used()));
  RILL_ASSIGN_OR_RETURN(shadow_, Buffer::Allocate(device_, state_.fixed().bytes()));
  Scratch scratch(workspace_.data());
  buffers_ = PassBuffers::Take(scratch, model_->config(), shape_);
  logits_pool_ = logits != nullptr ? std::move(logits) : BlockPool::Create(device_, LogitsBytes(model_->config()));
  RILL_ASSIGN_OR_RETURN(reservation_, logits_pool_->Reserve(1));
  RILL_RETURN_IF_ERROR(OwnLogits());
  if (!device_.is_host()) host_logits_.resize(static_cast<size_t>(model_->config().vocab_size));
  if (device_.ops().make_fused_decoder != nullptr) return MakeDecoder();
  return absl::OkStatus();
}

// Before they are written. What others share stays theirs; it is let go of first, so that one is left to take.
absl::Status Forward::OwnLogits() {
  if (logits_.writable()) return absl::OkStatus();
  logits_ = BlockRef();
  logits_ = logits_pool_->Take();
  return logits_.empty() ? absl::InternalError("logits: the pool has no block left") : absl::OkStatus();
}

absl::Status Forward::SetLogits(const void* row) {
  RILL_RETURN_IF_ERROR(OwnLogits());
  return device_.CopyOn(logits_.data(), row, static_cast<size_t>(logits().bytes()));
}

// A fused decoder was told once and for all where its logits go.
absl::Status Forward::ShareLogits(const Forward& other) {
  if (decoder_ != nullptr) return SetLogits(other.logits_.data());
  logits_ = other.logits_;
  return absl::OkStatus();
}

absl::Status Forward::MakeDecoder() {
  const ModelConfig& config = model_->config();
  std::vector<DecoderLayerState> states(config.layers.size());
  for (size_t l = 0; l < states.size(); ++l) {
    if (config.layers[l].mixer == MixerKind::kKda) {
      const KdaState kda = state_.kda(static_cast<int64_t>(l));
      states[l].kda_state = kda.recurrent;
      states[l].conv_tail = kda.tail;
    } else {
      states[l].mla_cache = state_.mla(static_cast<int64_t>(l));
    }
  }
  absl::StatusOr<std::unique_ptr<FusedDecoder>> decoder =
      device_.ops().make_fused_decoder(device_, MakeDecoderSpec(*model_, shape_, logits(), states));
  if (absl::IsUnimplemented(decoder.status())) return absl::OkStatus();  // steps go by the operators
  RILL_RETURN_IF_ERROR(decoder.status());
  decoder_ = *std::move(decoder);
  longest_stepped_ = LongestSteppedPass(config, model_->weight_traffic(), shape_.prefill_chunk);
  return absl::OkStatus();
}

// Steps leave logits, so a pass that is to leave none is none of steps; nor one whose rows go to a sink, which gets
// none that a cancel takes back.
bool Forward::IsStepped(int64_t n_tokens, LogitsWanted wanted) const {
  return n_tokens <= longest_stepped_ && wanted == LogitsWanted::kLast;
}

// Whether the pass succeeds or not, it may write over the oldest slots of the ring.
absl::Status Forward::PrepareToWrite(int64_t n_tokens) {
  RILL_RETURN_IF_ERROR(state_.PrepareToWrite(n_tokens));
  state_.ring().WillRecord(state_.position(), n_tokens);
  return absl::OkStatus();
}

absl::Status Forward::Prefill(absl::Span<const int32_t> ids, LogitsWanted wanted, Cancel cancel, RowSink sink,
                              absl::Span<const StateTap> taps) {
  const int64_t T = static_cast<int64_t>(ids.size());
  RILL_RETURN_IF_ERROR(PrepareToWrite(T));
  const bool guarded = shadow_.bytes() > 0, stepped = IsStepped(T, wanted);
  // Steps write logits; a pass does so when nothing can fail any more.
  const TensorView logits_before = FirstRows(buffers_.head, 1);
  const size_t logits_bytes = static_cast<size_t>(logits().bytes());
  if (guarded) RILL_RETURN_IF_ERROR(device_.CopyOn(shadow_.data(), state_.fixed().data(), shadow_.bytes()));
  if (stepped) RILL_RETURN_IF_ERROR(device_.CopyOn(logits_before.data, logits().data, logits_bytes));
  absl::Status status = stepped ? RunSteps(ids, cancel, taps) : RunPass(ids, wanted, cancel, sink, taps);
  if (status.ok()) status = device_.Synchronize();
  if (status.ok()) {
    state_.Advance(T);
    return status;
  }
  // Rows beyond the position are never read, so taking the pass back is putting the constant-size part back.
  if (guarded) device_.CopyOn(state_.fixed().data(), shadow_.data(), shadow_.bytes()).IgnoreError();
  if (stepped) device_.CopyOn(logits().data, logits_before.data, logits_bytes).IgnoreError();
  return status;
}

absl::Status Forward::RunPass(absl::Span<const int32_t> ids, LogitsWanted wanted, Cancel cancel, RowSink sink,
                              absl::Span<const StateTap> taps) {
  const int64_t T = static_cast<int64_t>(ids.size());
  const TensorView device_ids = FirstRows(buffers_.ids, T);
  RILL_RETURN_IF_ERROR(device_.CopyIn(device_ids.data, ids.data(), ids.size() * sizeof(int32_t)));
  RILL_RETURN_IF_ERROR(RunLayers(device_ids, cancel, taps));
  return RunHead(T, wanted, sink);
}

// Each step is waited for, so that a cancel is answered within one.
absl::Status Forward::RunSteps(absl::Span<const int32_t> ids, Cancel cancel, absl::Span<const StateTap> taps) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (cancel()) return absl::CancelledError(absl::StrCat("cancelled before token ", i, " of ", ids.size()));
    RILL_RETURN_IF_ERROR(decoder_->Step(ids[i], state_.position() + static_cast<int64_t>(i)));
    if (!taps.empty() && taps[0].after == static_cast<int64_t>(i) + 1) {
      RILL_RETURN_IF_ERROR(device_.CopyOn(taps[0].fixed, state_.fixed().data(), state_.fixed().bytes()));
      taps.remove_prefix(1);
    }
    RILL_RETURN_IF_ERROR(device_.Synchronize());
  }
  return absl::OkStatus();
}

absl::Status Forward::Step(int32_t id) {
  RILL_RETURN_IF_ERROR(PrepareToWrite(1));
  if (decoder_ != nullptr) {
    RILL_RETURN_IF_ERROR(decoder_->Step(id, state_.position()));
  } else {
    const TensorView ids = FirstRows(buffers_.ids, 1);
    RILL_RETURN_IF_ERROR(device_.CopyIn(ids.data, &id, sizeof id));
    RILL_RETURN_IF_ERROR(RunLayers(ids, [] { return false; }, {}));
    RILL_RETURN_IF_ERROR(RunHead(1, LogitsWanted::kLast, [](int64_t, absl::Span<const float>) {}));
  }
  state_.Advance(1);
  return absl::OkStatus();
}

absl::Status Forward::Replay(int64_t to) {
  return ReplayTokens(*model_, state_, to, static_cast<float*>(buffers_.layer_base));
}

absl::Status Forward::RunLayers(const TensorView& ids, Cancel cancel, absl::Span<const StateTap> taps) {
  const int64_t T = ids.dim[0];
  const TensorView x = FirstRows(buffers_.x, T), normed = FirstRows(buffers_.normed, T);
  RILL_RETURN_IF_ERROR(device_.ops().embed(device_, EmbedArgs{ids, model_->weights().embedding, x}));
  const Pass pass{device_, state_.position(), T};
  for (int64_t l = 0; l < model_->config().n_layers(); ++l) {
    if (cancel()) return absl::CancelledError(absl::StrCat("cancelled before layer ", l));
    RILL_RETURN_IF_ERROR(RunLayer(l, pass, taps, x, normed));
  }
  return absl::OkStatus();
}

absl::Status Forward::RunKda(int64_t l, const Pass& pass, absl::Span<const StateTap> taps, const TensorView& x,
                             const TensorView& normed) {
  if (taps.size() > kMaxTaps) return absl::InternalError(absl::StrCat(taps.size(), " taps, at most ", kMaxTaps));
  KdaTap kda_taps[kMaxTaps];
  for (size_t i = 0; i < taps.size(); ++i) kda_taps[i] = {taps[i].after, state_.KdaIn(l, taps[i].fixed)};
  Scratch scratch(buffers_.layer_base);
  const KdaBuffers b = KdaBuffers::Take(scratch, model_->config(), pass.n_tokens);
  return KdaForward(pass, model_->weights().layers[l].kda, state_.kda(l), {kda_taps, taps.size()}, b, normed, x);
}

absl::Status Forward::RunLayer(int64_t l, const Pass& pass, absl::Span<const StateTap> taps, const TensorView& x,
                               const TensorView& normed) {
  const ModelConfig& config = model_->config();
  const LayerWeights& w = model_->weights().layers[l];
  const int64_t T = pass.n_tokens;
  const auto norm = [&](const TensorView& weight) {
    return device_.ops().rms_norm(device_, RmsNormArgs{config.rms_norm_eps, x, weight, normed});
  };

  RILL_RETURN_IF_ERROR(norm(w.input_norm));
  if (w.is_kda) {
    RILL_RETURN_IF_ERROR(RunKda(l, pass, taps, x, normed));
  } else {
    Scratch mixer(buffers_.layer_base);
    const MlaBuffers b = MlaBuffers::Take(mixer, config, T, shape_.max_tokens);
    RILL_RETURN_IF_ERROR(MlaForward(pass, w.mla, state_.mla(l), b, normed, x));
  }

  RILL_RETURN_IF_ERROR(norm(w.post_norm));
  Scratch ffn(buffers_.layer_base);
  if (!w.is_moe) return GluForward(pass, w.dense, GluBuffers::Take(ffn, config.dense_width, T), normed, x);
  return MoeForward(pass, w.moe, MoeBuffers::Take(ffn, config, T), normed, x);
}

absl::Status Forward::RunHead(int64_t n_tokens, LogitsWanted wanted, RowSink sink) {
  if (wanted == LogitsWanted::kNone) return absl::OkStatus();
  const float eps = model_->config().rms_norm_eps;
  const int64_t first = wanted == LogitsWanted::kAll ? 0 : n_tokens - 1;
  const TensorView x = buffers_.x.Rows(first, n_tokens - first), normed = buffers_.normed.Rows(first, n_tokens - first);
  RILL_RETURN_IF_ERROR(
      device_.ops().rms_norm(device_, RmsNormArgs{eps, x, model_->weights().final_norm, normed}));
  if (wanted == LogitsWanted::kAll) return DeliverRows(n_tokens, sink);
  RILL_RETURN_IF_ERROR(OwnLogits());
  return Project(n_tokens - 1, logits());
}

// Of rows [row, row + the rows of `out`).
absl::Status Forward::Project(int64_t row, const TensorView& out) {
  const Pass pass{device_, 0, out.dim[0]};
  return pass.Project(buffers_.normed.Rows(row, out.dim[0]), {{model_->weights().lm_head, out}});
}

absl::Status Forward::DeliverRows(int64_t n_tokens, RowSink sink) {
  const size_t bytes = static_cast<size_t>(logits().bytes());
  for (int64_t row = 0; row < n_tokens; row += kHeadRows) {
    const TensorView out = FirstRows(buffers_.head, std::min(kHeadRows, n_tokens - row));
    RILL_RETURN_IF_ERROR(Project(row, out));
    for (int64_t i = 0; i < out.dim[0]; ++i) {
      const TensorView one = out.Rows(i, 1);
      const float* values = device_.is_host() ? one.f32() : host_logits_.data();
      if (!device_.is_host()) RILL_RETURN_IF_ERROR(device_.CopyOut(host_logits_.data(), one.data, bytes));
      sink(row + i, absl::MakeConstSpan(values, bytes / sizeof(float)));
      if (row + i + 1 == n_tokens) RILL_RETURN_IF_ERROR(SetLogits(one.data));
    }
  }
  return absl::OkStatus();
}

TensorView Forward::logits() const { return F32View(static_cast<float*>(logits_.data()), 1, model_->config().vocab_size); }

absl::Span<float> Forward::host_logits() {
  if (!device_.is_host()) return absl::MakeSpan(host_logits_);
  return absl::MakeSpan(static_cast<float*>(logits_.data()), static_cast<size_t>(model_->config().vocab_size));
}

uint64_t Forward::allocated_bytes() const {
  return workspace_.bytes() + shadow_.bytes() + reservation_.bytes() + (decoder_ == nullptr ? 0 : decoder_->device_bytes());
}

SessionPlan PlanSession(const Model& model, const SessionShape& shape) {
  SessionPlan plan = MakeSessionPlan(model.config(), shape);
  const Device& device = model.device();
  if (device.is_host()) return plan;
  plan.ring_bytes = ReplayRing::Bytes(model.config(), ReplayWindow(device, shape));
  plan.cache_bytes += sizeof(void*) * static_cast<uint64_t>(CeilDiv(shape.max_tokens, kPageTokens));
  plan.logits_bytes += 4ull * static_cast<uint64_t>(model.config().vocab_size);
  if (device.ops().fused_decoder_bytes != nullptr) {
    const std::vector<DecoderLayerState> states(model.config().layers.size());
    plan.decoder_bytes = device.ops().fused_decoder_bytes(MakeDecoderSpec(model, shape, {}, states));
  }
  return plan;
}

}  // namespace rill
