// c_api/session_call.h — what the calls on a session have in common.
#pragma once

#include <memory>
#include <utility>

#include "c_api/objects.h"
#include "c_api/structs.h"

namespace rill::capi {

// Runs `body` on a session that nobody else is in, asleep or awake.
template <typename Body>
rill_status InsideAsItIs(const rill_session* handle, Body&& body) {
  std::shared_ptr<SessionObject> object;
  RILL_C_TRY(FindSession(handle, &object));
  const GateScope inside(object->gate);
  RILL_C_TRY(inside.status());
  return body(*object);
}

// The session would wake by itself; what goes wrong then is told from what its call does wrong.
inline rill_status Awake(SessionObject& object) {
  if (!object.session->asleep()) return RILL_OK;
  return Answer(object.session->Wake(), Origin::kFile);
}

// Runs `body` on a session that nobody else is in, awake.
template <typename Body>
rill_status Inside(const rill_session* handle, Body&& body) {
  return InsideAsItIs(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(Awake(object));
    return body(object);
  });
}

inline rill_status NoGeneration(const SessionObject& object) {
  if (object.open_generation == nullptr) return RILL_OK;
  return Fail(RILL_E_STATE, "a generation is open on the session");
}

// Memory was taken at create: what a session runs out of later is its length.
inline rill_status AnswerFed(const absl::Status& status) {
  const rill_status code = Answer(status, Origin::kSession);
  return code == RILL_E_NOMEM ? RILL_E_CONTEXT_FULL : code;
}

inline AppendProgress ToProgress(rill_progress_fn fn, void* ud) {
  if (fn == nullptr) return {};
  return [fn, ud](uint64_t done, uint64_t total) { return fn(ud, done, total) != 0; };
}

// An output struct that may be left out: `unused` takes its place.
template <typename T>
T* OrUnused(T* out, T* unused) {
  RILL_INIT(*unused);
  return out != nullptr ? out : unused;
}

}  // namespace rill::capi
