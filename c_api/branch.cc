// Branches of a timeline: snapshots and forks.
#include "c_api/session_call.h"

namespace rill::capi {
namespace {

rill_status TakeSnapshot(const rill_session* handle, rill_snapshot** out) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    auto snapshot = object.session->TakeSnapshot();
    if (!snapshot.ok()) return Answer(snapshot.status(), Origin::kSession);
    auto made = std::make_shared<SnapshotObject>();
    made->snapshot = *std::move(snapshot);
    return Publish(Kind::kSnapshot, std::move(made), out);
  });
}

// What does not fit a session at all is of another model.
rill_status AnswerRestored(const absl::Status& status) {
  const rill_status code = AnswerFed(status);
  return code == RILL_E_ARG ? RILL_E_MISMATCH : code;
}

rill_status Restore(const rill_session* handle, const rill_snapshot* snapshot) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    std::shared_ptr<SnapshotObject> from;
    RILL_C_TRY(FindSnapshot(snapshot, &from));
    RILL_C_TRY(NoGeneration(object));
    return AnswerRestored(object.session->Restore(*from->snapshot));
  });
}

rill_status CloseSnapshot(const rill_snapshot* handle) {
  if (handle == nullptr) return RILL_OK;
  std::shared_ptr<void> taken;
  return HandleTable::Instance().Remove(Kind::kSnapshot, handle, &taken);
}

// `read` gives a number of a snapshot; 0 for a handle that is none.
template <typename Read>
uint64_t NumberOf(const char* function, const rill_snapshot* handle, Read&& read) {
  uint64_t number = 0;
  Guard(function, [&]() -> rill_status {
    std::shared_ptr<SnapshotObject> object;
    RILL_C_TRY(FindSnapshot(handle, &object));
    number = read(*object->snapshot);
    return RILL_OK;
  });
  return number;
}

rill_status Fork(const rill_session* handle, rill_session** out) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    auto fork = object.session->Fork();
    if (!fork.ok()) return Answer(fork.status(), Origin::kSession);
    auto user = object.session->UserBlob();
    if (!user.ok()) return Answer(user.status(), Origin::kSession);
    RILL_C_TRY(Answer((*fork)->SetUserBlob(*std::move(user)), Origin::kSession));
    auto made = std::make_shared<SessionObject>();
    made->session = *std::move(fork);
    return Publish(Kind::kSession, std::move(made), out);
  });
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_session_snapshot(rill_session* session, rill_snapshot** out) {
  return Guard(__func__, [&] { return rill::capi::TakeSnapshot(session, out); });
}

rill_status rill_session_restore(rill_session* session, const rill_snapshot* snapshot) {
  return Guard(__func__, [&] { return rill::capi::Restore(session, snapshot); });
}

uint64_t rill_snapshot_length(const rill_snapshot* snapshot) {
  return rill::capi::NumberOf(__func__, snapshot,
                              [](const rill::Snapshot& s) { return s.length(); });
}

uint64_t rill_snapshot_bytes(const rill_snapshot* snapshot) {
  return rill::capi::NumberOf(__func__, snapshot,
                              [](const rill::Snapshot& s) { return s.bytes(); });
}

rill_status rill_snapshot_close(rill_snapshot* snapshot) {
  return Guard(__func__, [&] { return rill::capi::CloseSnapshot(snapshot); });
}

rill_status rill_session_fork(rill_session* session, rill_session** out) {
  return Guard(__func__, [&] { return rill::capi::Fork(session, out); });
}
