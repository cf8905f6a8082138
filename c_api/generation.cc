#include "sdk/generation.h"

#include "absl/strings/str_cat.h"
#include "c_api/generation_params.h"
#include "c_api/session_call.h"
#include "kernels/base/clock.h"

namespace rill::capi {
namespace {

// Inside the session's gate, as all of these. RILL_E_STATE when one is open.
rill_status Begin(SessionObject& object, const rill_gen_params* in,
                  std::unique_ptr<Generation>* out) {
  RILL_C_TRY(NoGeneration(object));
  GenerationParams params;
  RILL_C_TRY(ReadGenerationParams(in, &params));
  if (!params.stop_strings.empty() && object.session->model().tokenizer() == nullptr) {
    return Fail(RILL_E_UNSUPPORTED, "stop strings: the model file has no tokenizer");
  }
  auto begun = Generation::Begin(*object.session, params);
  if (!begun.ok()) return Answer(begun.status(), Origin::kSession);
  *out = *std::move(begun);
  return RILL_OK;
}

rill_status Next(Generation& generation, TopProbs* top, rill_event* out) {
  const auto event = generation.Next();
  if (!event.ok()) return Answer(event.status(), Origin::kSession);
  *out = rill_event{};
  out->kind = event->kind == GenerationEvent::Kind::kEnd ? RILL_EVENT_END : RILL_EVENT_TOKEN;
  out->id = event->id;
  out->logprob = event->logprob;
  out->finish = static_cast<int32_t>(event->finish);
  out->position = event->position;
  out->text = event->text.data();
  out->text_len = event->text.size();
  for (const TokenProb& prob : event->top) {
    if (out->n_top == top->size()) break;
    (*top)[out->n_top++] = {prob.id, prob.logprob};
  }
  out->top = out->n_top > 0 ? top->data() : nullptr;
  return RILL_OK;
}

static_assert(static_cast<int32_t>(FinishReason::kStopToken) == RILL_FINISH_STOP_TOKEN &&
              static_cast<int32_t>(FinishReason::kStopString) == RILL_FINISH_STOP_STRING &&
              static_cast<int32_t>(FinishReason::kMaxTokens) == RILL_FINISH_MAX_TOKENS &&
              static_cast<int32_t>(FinishReason::kContextFull) == RILL_FINISH_CONTEXT_FULL);

rill_status Resume(SessionObject& object, std::unique_ptr<Generation>* out) {
  RILL_C_TRY(NoGeneration(object));
  auto resumed = Generation::Resume(*object.session);
  if (!resumed.ok()) return Answer(resumed.status(), Origin::kSession);
  *out = *std::move(resumed);
  return RILL_OK;
}

// `start` fills in the generation, inside the session's gate.
template <typename Start>
rill_status OpenGeneration(rill_session* handle, rill_gen** out, Start&& start) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  auto object = std::make_shared<GenerationObject>();
  RILL_C_TRY(FindSession(handle, &object->owner));
  SessionObject& owner = *object->owner;
  const GateScope inside(owner.gate);
  RILL_C_TRY(inside.status());
  RILL_C_TRY(Awake(owner));
  RILL_C_TRY(start(owner, &object->generation));
  RILL_C_TRY(Publish(Kind::kGeneration, std::move(object), out));
  owner.open_generation = *out;
  return RILL_OK;
}

rill_status BeginGeneration(rill_session* handle, const rill_gen_params* params, rill_gen** out) {
  return OpenGeneration(handle, out, [&](SessionObject& owner, std::unique_ptr<Generation>* made) {
    return Begin(owner, params, made);
  });
}

rill_status ResumeGeneration(rill_session* handle, rill_gen** out) {
  return OpenGeneration(handle, out, Resume);
}

// A generation that its session's close got to first.
rill_status StillOpen(const GenerationObject& object) {
  if (object.generation != nullptr) return RILL_OK;
  return Fail(RILL_E_CLOSED, "the generation was closed");
}

rill_status NextEvent(rill_gen* handle, rill_event* out) {
  OutStruct<rill_event> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::shared_ptr<GenerationObject> object;
  RILL_C_TRY(FindGeneration(handle, &object));
  const GateScope inside(object->owner->gate);
  RILL_C_TRY(inside.status());
  RILL_C_TRY(StillOpen(*object));
  RILL_C_TRY(Awake(*object->owner));
  rill_event event;
  RILL_C_TRY(Next(*object->generation, &object->top, &event));
  return result.Write(event);
}

rill_status EndGeneration(rill_gen* handle) {
  if (handle == nullptr) return RILL_OK;
  std::shared_ptr<GenerationObject> object;
  RILL_C_TRY(FindGeneration(handle, &object));
  const GateScope inside(object->owner->gate);
  RILL_C_TRY(inside.status());
  std::shared_ptr<void> taken;
  RILL_C_TRY(HandleTable::Instance().Remove(Kind::kGeneration, handle, &taken));
  object->owner->open_generation = nullptr;
  object->generation.reset();
  return RILL_OK;
}

// Until END, a failure or a callback that has enough.
rill_status Loop(Generation& generation, rill_event_fn fn, void* ud, rill_gen_stats* stats) {
  TopProbs top;
  for (;;) {
    rill_event event;
    RILL_C_TRY(Next(generation, &top, &event));
    event.struct_size = sizeof event;
    stats->tokens += event.kind == RILL_EVENT_TOKEN;
    stats->text_bytes += event.text_len;
    const bool enough = fn != nullptr && fn(ud, &event) != 0;
    if (event.kind == RILL_EVENT_END) {
      stats->finish = event.finish;
      return RILL_OK;
    }
    if (enough) return Fail(RILL_E_CANCELLED, "the event callback ended the generation");
  }
}

rill_status Generate(rill_session* handle, const rill_gen_params* params, rill_event_fn fn,
                     void* ud, rill_gen_stats* out) {
  rill_gen_stats unused;
  OutStruct<rill_gen_stats> result("stats", OrUnused(out, &unused), sizeof *out);
  RILL_C_TRY(result.status());
  std::shared_ptr<SessionObject> object;
  RILL_C_TRY(FindSession(handle, &object));
  const GateScope inside(object->gate);
  RILL_C_TRY(inside.status());
  RILL_C_TRY(Awake(*object));
  std::unique_ptr<Generation> generation;
  RILL_C_TRY(Begin(*object, params, &generation));
  rill_gen_stats stats{};
  const int64_t start = Clock::Steady()->NowNanos();
  const rill_status status = Loop(*generation, fn, ud, &stats);
  stats.elapsed_ns = Clock::Steady()->NowNanos() - start;
  result.Write(stats);
  return status;
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_gen_begin(rill_session* session, const rill_gen_params* params, rill_gen** out) {
  return Guard(__func__, [&] { return rill::capi::BeginGeneration(session, params, out); });
}

rill_status rill_gen_resume(rill_session* session, rill_gen** out) {
  return Guard(__func__, [&] { return rill::capi::ResumeGeneration(session, out); });
}

rill_status rill_gen_next(rill_gen* gen, rill_event* out) {
  return Guard(__func__, [&] { return rill::capi::NextEvent(gen, out); });
}

rill_status rill_gen_end(rill_gen* gen) {
  return Guard(__func__, [&] { return rill::capi::EndGeneration(gen); });
}

rill_status rill_generate(rill_session* session, const rill_gen_params* params, rill_event_fn fn,
                          void* ud, rill_gen_stats* stats) {
  return Guard(__func__, [&] { return rill::capi::Generate(session, params, fn, ud, stats); });
}
