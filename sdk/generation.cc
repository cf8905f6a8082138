#include "sdk/generation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/base/status.h"
#include "model/tokenizer/utf8_stream.h"
#include "sdk/generation_state.h"
#include "sdk/session_impl.h"
#include "sdk/stop.h"

namespace rill {
namespace {

constexpr uint32_t kMaxTopLogprobs = 20;
constexpr size_t kTextReserve = 4096;  // more than a token's bytes and all that was held back

using Event = absl::StatusOr<GenerationEvent>;

absl::Status CheckParams(const Model& model, const GenerationParams& params) {
  const int64_t vocab = model.config().vocab_size;
  RILL_RETURN_IF_ERROR(Validate(params.sampling, vocab));
  for (const int32_t id : params.stop_tokens) {
    if (id >= 0 && id < vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stop_tokens: id ", id, ", the vocabulary has ", vocab));
  }
  const int64_t most = std::min<int64_t>(kMaxTopLogprobs, vocab);
  if (params.top_logprobs > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_logprobs: ", params.top_logprobs, ", expected 0 to ", most));
  }
  if (model.tokenizer() != nullptr || params.stop_strings.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("stop_strings: ", params.stop_strings.size(), ", the model has no tokenizer"));
}

// Ascending, for binary search.
std::vector<int32_t> StopIds(const Model& model, const GenerationParams& params) {
  std::vector<int32_t> ids = params.stop_tokens;
  if (params.use_model_stops && model.tokenizer() != nullptr) {
    const std::vector<int32_t> own = model.tokenizer()->DefaultStopIds();
    ids.insert(ids.end(), own.begin(), own.end());
  } else if (params.use_model_stops && model.config().eos_token >= 0) {
    ids.push_back(model.config().eos_token);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

struct Generation::Impl {
  Impl(Session& in, const GenerationParams& wanted, StopFilter filter)
      : session(in),
        params(wanted),
        stop_ids(StopIds(in.model(), wanted)),
        stops(std::move(filter)) {
    decoded.reserve(kTextReserve);
    text.reserve(kTextReserve);
  }

  Event Next();
  Event SampleAndFeed();
  FinishReason Limit() const;
  bool IsStop(int32_t id) const { return std::binary_search(stop_ids.begin(), stop_ids.end(), id); }
  absl::Status AddText(int32_t id);
  void CollectTop();
  GenerationEvent End(FinishReason reason, int32_t id = -1, float logprob = 0);
  void Recall(const GenerationState& state);

  Session& session;
  const GenerationParams params;
  const std::vector<int32_t> stop_ids;
  Utf8Stream utf8;
  StopFilter stops;
  std::string decoded, text;  // members so that a token allocates nothing
  std::array<int32_t, kMaxTopLogprobs> top_ids;
  std::array<float, kMaxTopLogprobs> top_logprobs;
  std::array<TokenProb, kMaxTopLogprobs> top;
  uint64_t n_fed = 0;
  GenerationEvent event{};   // the last one
  bool undelivered = false;  // a cancellation came between it and the caller
};

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Generation::~Generation() {
  Session::Impl& inside = *impl_->session.impl_;
  inside.gate.EndTask();
  inside.generation = nullptr;
  inside.generation_open.store(false);
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Begin(Session& session,
                                                              const GenerationParams& params) {
  Session::Impl& inside = *session.impl_;
  AwakeScope call(inside);
  RILL_RETURN_IF_ERROR(call.status());
  RILL_RETURN_IF_ERROR(CheckParams(session.model(), params));
  RILL_ASSIGN_OR_RETURN(StopFilter stops, StopFilter::Create(params.stop_strings));
  RILL_RETURN_IF_ERROR(inside.NeedLogits());
  return Start(session, std::make_unique<Impl>(session, params, std::move(stops)));
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Resume(Session& session) {
  Session::Impl& inside = *session.impl_;
  AwakeScope call(inside);
  RILL_RETURN_IF_ERROR(call.status());
  if (inside.parked_generation.empty()) {
    return absl::FailedPreconditionError("session: no reply was open where this timeline was taken");
  }
  RILL_ASSIGN_OR_RETURN(const GenerationState state, DecodeGenerationState(inside.parked_generation));
  RILL_RETURN_IF_ERROR(CheckParams(session.model(), state.params));
  RILL_ASSIGN_OR_RETURN(StopFilter stops, StopFilter::Resume(state.params.stop_strings, state.stop));
  auto impl = std::make_unique<Impl>(session, state.params, std::move(stops));
  RILL_ASSIGN_OR_RETURN(impl->utf8, Utf8Stream::FromPending(state.utf8_pending));
  RILL_RETURN_IF_ERROR(inside.NeedLogits());
  impl->Recall(state);
  RILL_ASSIGN_OR_RETURN(std::unique_ptr<Generation> generation, Start(session, std::move(impl)));
  inside.parked_generation.clear();
  return generation;
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Start(Session& session, std::unique_ptr<Impl> impl) {
  Session::Impl& inside = *session.impl_;
  if (inside.generation_open.exchange(true)) {
    return absl::FailedPreconditionError("session: another generation is open on it");
  }
  inside.gate.BeginTask();
  std::unique_ptr<Generation> generation(new Generation(std::move(impl)));
  inside.generation = generation.get();
  return generation;
}

std::string Generation::Save() const {
  GenerationState state;
  state.params = impl_->params;
  state.utf8_pending = std::string(impl_->utf8.pending());
  state.stop = impl_->stops.state();
  state.n_fed = impl_->n_fed;
  state.ended = impl_->event.kind == GenerationEvent::Kind::kEnd;
  state.finish = impl_->event.finish;
  state.undelivered = impl_->undelivered;
  state.id = impl_->event.id;
  state.logprob = impl_->event.logprob;
  state.position = impl_->event.position;
  if (impl_->undelivered) state.text = impl_->text;
  return Encode(state);
}

std::string Session::Impl::OpenGeneration() const { return generation != nullptr ? generation->Save() : parked_generation; }

absl::StatusOr<GenerationEvent> Generation::Next() {
  Session::Impl& inside = *impl_->session.impl_;
  AwakeScope call(inside);
  RILL_RETURN_IF_ERROR(call.status());
  Event event = impl_->Next();
  const absl::Status status = inside.Finish(event.status());
  impl_->undelivered = event.ok() && !status.ok();
  if (!status.ok()) return status;
  return event;
}

Event Generation::Impl::Next() {
  if (undelivered) return event;
  if (event.kind == GenerationEvent::Kind::kEnd) {
    event.text = {};
    return event;
  }
  text.clear();
  const FinishReason limit = Limit();
  if (limit != FinishReason::kNone) return End(limit);
  return SampleAndFeed();
}

// The alternatives of an undelivered event are not kept.
void Generation::Impl::Recall(const GenerationState& state) {
  n_fed = state.n_fed;
  undelivered = state.undelivered;
  text = state.text;
  if (!state.ended && !state.undelivered) return;
  event.kind = state.ended ? GenerationEvent::Kind::kEnd : GenerationEvent::Kind::kToken;
  event.finish = state.finish;
  event.id = state.id;
  event.logprob = state.logprob;
  event.position = state.position;
  event.text = text;
}

FinishReason Generation::Impl::Limit() const {
  if (stops.matched() >= 0) return FinishReason::kStopString;
  if (n_fed >= params.max_tokens) return FinishReason::kMaxTokens;
  const bool full = session.length() >= static_cast<uint64_t>(session.shape().max_tokens);
  return full ? FinishReason::kContextFull : FinishReason::kNone;
}

Event Generation::Impl::SampleAndFeed() {
  Session::Impl& inside = *session.impl_;
  const size_t n_top = params.top_logprobs;
  RILL_ASSIGN_OR_RETURN(const Session::Sampled sampled,
                        inside.Sample(params.sampling, absl::MakeSpan(top_ids.data(), n_top),
                                      absl::MakeSpan(top_logprobs.data(), n_top)));
  CollectTop();
  if (IsStop(sampled.id)) return End(FinishReason::kStopToken, sampled.id, sampled.logprob);
  const uint64_t position = session.length();
  RILL_RETURN_IF_ERROR(inside.Step(sampled.id));
  ++n_fed;
  RILL_RETURN_IF_ERROR(AddText(sampled.id));
  event.kind = GenerationEvent::Kind::kToken;
  event.id = sampled.id;
  event.logprob = sampled.logprob;
  event.position = position;
  event.text = text;
  event.top = absl::MakeConstSpan(top.data(), n_top);
  return event;
}

absl::Status Generation::Impl::AddText(int32_t id) {
  const Tokenizer* tokenizer = session.model().tokenizer();
  if (tokenizer == nullptr || tokenizer->IsSpecial(id)) return absl::OkStatus();
  RILL_ASSIGN_OR_RETURN(const std::string_view bytes, tokenizer->TokenBytes(id));
  decoded.clear();
  utf8.Push(bytes, &decoded);
  stops.Push(decoded, &text);
  return absl::OkStatus();
}

void Generation::Impl::CollectTop() {
  for (size_t i = 0; i < params.top_logprobs; ++i) top[i] = {top_ids[i], top_logprobs[i]};
}

GenerationEvent Generation::Impl::End(FinishReason reason, int32_t id, float logprob) {
  decoded.clear();
  utf8.Flush(&decoded);
  stops.Push(decoded, &text);
  if (stops.Finish(&text)) reason = FinishReason::kStopString;
  event = GenerationEvent{};
  event.kind = GenerationEvent::Kind::kEnd;
  event.id = id;
  event.logprob = logprob;
  event.position = session.length();
  event.text = text;
  if (id >= 0) event.top = absl::MakeConstSpan(top.data(), params.top_logprobs);
  event.finish = reason;
  return event;
}

}  // namespace rill
