// c_api/objects.h — what the four handles stand for.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "c_api/handles.h"
#include "c_api/session_gate.h"
#include "sdk/generation.h"
#include "sdk/session.h"
#include "sdk/snapshot.h"

namespace rill::capi {

struct ModelObject {
  std::shared_ptr<const Model> model;
  std::atomic<int64_t> references{1};  // at 0 the handle is closed
};

struct SessionObject {
  std::unique_ptr<Session> session;
  SessionGate gate;
  rill_gen* open_generation = nullptr;  // its handle; inside the gate only
};

// The alternatives of an event in the types of the C interface; the sdk gives at most 20.
using TopProbs = std::array<rill_token_prob, 20>;

struct GenerationObject {
  std::shared_ptr<SessionObject> owner;    // outlives the generation, which borrows its session
  std::unique_ptr<Generation> generation;  // null once closed; inside the owner's gate only
  TopProbs top{};                          // of the last event
};

struct SnapshotObject {
  std::shared_ptr<const Snapshot> snapshot;
};

template <typename T>
rill_status Find(Kind kind, const void* handle, std::shared_ptr<T>* object) {
  std::shared_ptr<void> found;
  const rill_status status = HandleTable::Instance().Find(kind, handle, &found);
  if (status == RILL_OK) *object = std::static_pointer_cast<T>(std::move(found));
  return status;
}

inline rill_status FindModel(const rill_model* handle, std::shared_ptr<ModelObject>* object) {
  return Find(Kind::kModel, handle, object);
}
inline rill_status FindSession(const rill_session* handle, std::shared_ptr<SessionObject>* object) {
  return Find(Kind::kSession, handle, object);
}
inline rill_status FindGeneration(const rill_gen* handle,
                                  std::shared_ptr<GenerationObject>* object) {
  return Find(Kind::kGeneration, handle, object);
}
inline rill_status FindSnapshot(const rill_snapshot* handle,
                                std::shared_ptr<SnapshotObject>* object) {
  return Find(Kind::kSnapshot, handle, object);
}

// Puts a new object into the table; RILL_E_NOMEM when that is full.
template <typename Handle>
rill_status Publish(Kind kind, std::shared_ptr<void> object, Handle** out) {
  *out = static_cast<Handle*>(HandleTable::Instance().Add(kind, std::move(object)));
  return *out != nullptr ? RILL_OK : Fail(RILL_E_NOMEM, "65536 handles are open");
}

}  // namespace rill::capi
