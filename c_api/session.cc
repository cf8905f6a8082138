#include "sdk/session.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "c_api/session_call.h"
#include "c_api/session_shape.h"

namespace rill::capi {
namespace {

rill_status CreateSession(rill_model* handle, const rill_session_params* in, rill_session** out) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  rill_session_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  SessionShape shape;
  RILL_C_TRY(ReadShape(params, &shape));
  std::shared_ptr<ModelObject> model;
  RILL_C_TRY(FindModel(handle, &model));
  auto session = Session::Create(model->model, shape);
  if (!session.ok()) return Answer(session.status(), Origin::kSession);
  auto object = std::make_shared<SessionObject>();
  object->session = *std::move(session);
  return Publish(Kind::kSession, std::move(object), out);
}

// The object goes with the last of the threads that still look at its counters.
rill_status CloseSession(rill_session* handle) {
  if (handle == nullptr) return RILL_OK;
  std::shared_ptr<SessionObject> object;
  RILL_C_TRY(FindSession(handle, &object));
  if (object->gate.IsInside()) {
    return Fail(RILL_E_REENTRANT, "a session cannot be closed from its own callback");
  }
  std::shared_ptr<void> taken;
  RILL_C_TRY(HandleTable::Instance().Remove(Kind::kSession, handle, &taken));
  object->gate.Close([&] { object->session->Cancel(); });
  if (object->open_generation == nullptr) return RILL_OK;
  std::shared_ptr<void> generation;
  RILL_C_TRY(
      HandleTable::Instance().Remove(Kind::kGeneration, object->open_generation, &generation));
  std::static_pointer_cast<GenerationObject>(generation)->generation.reset();
  return RILL_OK;
}

rill_status Append(const rill_session* handle, const int32_t* ids, size_t n, rill_progress_fn fn,
                   void* ud) {
  RILL_C_TRY(CheckSpan("ids", ids, n, sizeof(int32_t)));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(NoGeneration(object));
    return AnswerFed(object.session->Append(absl::MakeConstSpan(ids, n), ToProgress(fn, ud)));
  });
}

rill_status Step(const rill_session* handle, int32_t id) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(NoGeneration(object));
    return AnswerFed(object.session->Step(id));
  });
}

rill_status ResetSession(const rill_session* handle) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(NoGeneration(object));
    return Answer(object.session->Reset(), Origin::kSession);
  });
}

rill_status Tokens(const rill_session* handle, uint64_t from, int32_t* ids, size_t cap,
                   size_t* count) {
  RILL_C_TRY(NeedOut("count", count));
  *count = 0;
  RILL_C_TRY(CheckSpan("ids", ids, cap, sizeof(int32_t)));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    const uint64_t length = object.session->length();
    if (from > length) {
      return Fail(RILL_E_ARG, absl::StrCat("from ", from, " is past the end, ", length));
    }
    const auto got = object.session->Tokens(from, absl::MakeSpan(ids, cap));
    if (!got.ok()) return Answer(got.status(), Origin::kSession);
    *count = static_cast<size_t>(length - from);
    return RILL_OK;
  });
}

// FailedPrecondition and an empty span both mean that nothing was fed.
rill_status FreshLogits(SessionObject& object, absl::Span<const float>* logits) {
  const auto got = object.session->Logits();
  if (!got.ok()) return Answer(got.status(), Origin::kSession);
  *logits = *got;
  return logits->empty() ? Fail(RILL_E_STATE, "no logits: nothing was fed yet") : RILL_OK;
}

rill_status Logits(const rill_session* handle, const float** logits, size_t* n) {
  if (logits != nullptr) *logits = nullptr;
  if (n != nullptr) *n = 0;
  RILL_C_TRY(NeedOut("logits", logits));
  RILL_C_TRY(NeedOut("n", n));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    absl::Span<const float> values;
    RILL_C_TRY(FreshLogits(object, &values));
    *logits = values.data();
    *n = values.size();
    return RILL_OK;
  });
}

rill_status Logprobs(const rill_session* handle, absl::Span<const int32_t> ids, float* out,
                     rill_token_prob* top, size_t k) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    absl::Span<const float> values;
    RILL_C_TRY(FreshLogits(object, &values));
    if (k > values.size()) {
      return Fail(RILL_E_ARG, absl::StrCat("k ", k, " is over the vocabulary, ", values.size()));
    }
    std::vector<int32_t> top_ids(k);
    std::vector<float> results(ids.size()), top_logprobs(k);
    RILL_C_TRY(
        Answer(object.session->Logprobs(ids, absl::MakeSpan(results), absl::MakeSpan(top_ids),
                                        absl::MakeSpan(top_logprobs)),
               Origin::kSession));
    std::copy(results.begin(), results.end(), out);
    for (size_t i = 0; i < k; ++i) top[i] = {top_ids[i], top_logprobs[i]};
    return RILL_OK;
  });
}

// Zeroes the outputs before anything can fail.
rill_status LogprobsArgs(const rill_session* handle, const int32_t* ids, size_t n, float* out,
                         rill_token_prob* top, size_t k) {
  RILL_C_TRY(CheckSpan("ids", ids, n, sizeof *ids));
  RILL_C_TRY(CheckSpan("out", out, n, sizeof *out));
  RILL_C_TRY(CheckSpan("top", top, k, sizeof *top));
  std::fill_n(out, n, 0.0f);
  std::fill_n(top, k, rill_token_prob{});
  return Logprobs(handle, absl::MakeConstSpan(ids, n), out, top, k);
}

rill_status GetStats(const rill_session* handle, rill_stats* out) {
  OutStruct<rill_stats> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::shared_ptr<SessionObject> object;
  RILL_C_TRY(FindSession(handle, &object));
  const SessionStats from = object->session->stats();
  rill_stats to{};
  to.asleep = object->session->asleep() ? 1 : 0;
  to.prefill_tokens = from.prefill_tokens;
  to.decode_tokens = from.decode_tokens;
  to.sampled_tokens = from.sampled_tokens;
  to.prefill_ns = from.prefill_nanos;
  to.decode_ns = from.decode_nanos;
  to.last_ttft_ns = from.last_ttft_nanos;
  to.cancelled_calls = from.cancelled_calls;
  to.device_bytes = from.device_bytes;
  to.planned_bytes = from.planned_bytes;
  to.weight_bytes_per_token = from.weight_bytes_per_token;
  return result.Write(to);
}

rill_status Cancel(const rill_session* handle) {
  std::shared_ptr<SessionObject> object;
  RILL_C_TRY(FindSession(handle, &object));
  object->session->Cancel();
  return RILL_OK;
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_session_create(rill_model* model, const rill_session_params* params,
                                rill_session** out) {
  return Guard(__func__, [&] { return rill::capi::CreateSession(model, params, out); });
}

rill_status rill_session_close(rill_session* session) {
  return Guard(__func__, [&] { return rill::capi::CloseSession(session); });
}

uint64_t rill_session_length(const rill_session* session) {
  uint64_t length = 0;
  Guard(__func__, [&]() -> rill_status {
    std::shared_ptr<rill::capi::SessionObject> object;
    RILL_C_TRY(rill::capi::FindSession(session, &object));
    length = object->session->length();
    return RILL_OK;
  });
  return length;
}

rill_status rill_session_tokens(const rill_session* session, uint64_t from, int32_t* ids,
                                size_t cap, size_t* count) {
  return Guard(__func__, [&] { return rill::capi::Tokens(session, from, ids, cap, count); });
}

rill_status rill_session_append(rill_session* session, const int32_t* ids, size_t n,
                                rill_progress_fn progress, void* ud) {
  return Guard(__func__, [&] { return rill::capi::Append(session, ids, n, progress, ud); });
}

rill_status rill_session_step(rill_session* session, int32_t id) {
  return Guard(__func__, [&] { return rill::capi::Step(session, id); });
}

rill_status rill_session_reset(rill_session* session) {
  return Guard(__func__, [&] { return rill::capi::ResetSession(session); });
}

rill_status rill_session_cancel(rill_session* session) {
  return Guard(__func__, [&] { return rill::capi::Cancel(session); });
}

rill_status rill_session_logits(rill_session* session, const float** logits, size_t* n) {
  return Guard(__func__, [&] { return rill::capi::Logits(session, logits, n); });
}

rill_status rill_session_logprobs(rill_session* session, const int32_t* ids, size_t n, float* out,
                                  rill_token_prob* top, size_t k) {
  return Guard(__func__, [&] { return rill::capi::LogprobsArgs(session, ids, n, out, top, k); });
}

rill_status rill_session_get_stats(const rill_session* session, rill_stats* out) {
  return Guard(__func__, [&] { return rill::capi::GetStats(session, out); });
}
