// Back along the timeline of a session: rewind, marks, sync.
#include <vector>

#include "absl/strings/str_cat.h"
#include "c_api/session_call.h"

namespace rill::capi {
namespace {

rill_rewind_cost ToC(const RewindCost& from) {
  rill_rewind_cost to{};
  to.anchor = from.anchor;
  to.replayed = from.replayed;
  to.recomputed = from.recomputed;
  return to;
}

rill_status CostOfRewind(const rill_session* handle, uint64_t position, rill_rewind_cost* out) {
  OutStruct<rill_rewind_cost> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    const auto cost = object.session->CostOfRewind(position);
    if (!cost.ok()) return Answer(cost.status(), Origin::kSession);
    return result.Write(ToC(*cost));
  });
}

rill_status CheckCheap(const RewindCost& cost, uint64_t position) {
  if (cost.recomputed <= 1) return RILL_OK;
  return Fail(RILL_E_BUDGET, absl::StrCat("rewind to ", position, ": ", cost.recomputed,
                                          " tokens to recompute, RILL_REWIND_ONLY_CHEAP allows 1"));
}

rill_status Rewind(const rill_session* handle, uint64_t position, uint32_t flags,
                   const AppendProgress& progress, rill_rewind_cost* out) {
  rill_rewind_cost unused;
  OutStruct<rill_rewind_cost> result("out", OrUnused(out, &unused), sizeof *out);
  RILL_C_TRY(result.status());
  RILL_C_TRY(CheckFlags(flags, RILL_REWIND_ONLY_CHEAP));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(NoGeneration(object));
    if ((flags & RILL_REWIND_ONLY_CHEAP) != 0) {
      const auto cost = object.session->CostOfRewind(position);
      if (!cost.ok()) return Answer(cost.status(), Origin::kSession);
      result.Write(ToC(*cost));
      RILL_C_TRY(CheckCheap(*cost, position));
    }
    const auto cost = object.session->Rewind(position, progress);
    result.Write(cost.ok() ? ToC(*cost) : rill_rewind_cost{});
    return Answer(cost.status(), Origin::kSession);
  });
}

// The ladder's places are the caller's limit, and nothing else is taken here.
rill_status Mark(const rill_session* handle, uint64_t tag) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    const rill_status code = Answer(object.session->Mark(tag), Origin::kSession);
    return code == RILL_E_NOMEM ? RILL_E_BUDGET : code;
  });
}

rill_status Unmark(const rill_session* handle, uint64_t tag) {
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    return Answer(object.session->Unmark(tag), Origin::kSession);
  });
}

rill_status Checkpoints(const rill_session* handle, uint64_t* positions, size_t cap,
                        size_t* count) {
  RILL_C_TRY(NeedOut("count", count));
  *count = 0;
  RILL_C_TRY(CheckSpan("positions", positions, cap, sizeof *positions));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    std::vector<uint64_t> all(static_cast<size_t>(object.session->shape().ladder_slots));
    const auto n = object.session->Checkpoints(absl::MakeSpan(all));
    if (!n.ok()) return Answer(n.status(), Origin::kSession);
    return FillBuffer(all.data(), *n, positions, cap, count);
  });
}

static_assert(static_cast<int32_t>(SyncReason::kSame) == RILL_SYNC_SAME &&
              static_cast<int32_t>(SyncReason::kExtended) == RILL_SYNC_EXTENDED &&
              static_cast<int32_t>(SyncReason::kRewound) == RILL_SYNC_REWOUND &&
              static_cast<int32_t>(SyncReason::kRebuilt) == RILL_SYNC_REBUILT);

rill_sync_report ToC(const SyncReport& from) {
  rill_sync_report to{};
  to.reason = static_cast<int32_t>(from.reason);
  to.common = from.common;
  to.anchor = from.rewind.anchor;
  to.replayed = from.rewind.replayed;
  to.recomputed = from.rewind.recomputed;
  to.appended = from.appended;
  return to;
}

rill_status Sync(const rill_session* handle, const int32_t* ids, size_t n,
                 const AppendProgress& progress, rill_sync_report* out) {
  rill_sync_report unused;
  OutStruct<rill_sync_report> result("out", OrUnused(out, &unused), sizeof *out);
  RILL_C_TRY(result.status());
  RILL_C_TRY(CheckSpan("ids", ids, n, sizeof *ids));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    RILL_C_TRY(NoGeneration(object));
    const auto report = object.session->Sync(absl::MakeConstSpan(ids, n), progress);
    if (!report.ok()) return AnswerFed(report.status());
    return result.Write(ToC(*report));
  });
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_session_rewind_cost(const rill_session* session, uint64_t position,
                                     rill_rewind_cost* out) {
  return Guard(__func__, [&] { return rill::capi::CostOfRewind(session, position, out); });
}

rill_status rill_session_rewind(rill_session* session, uint64_t position, uint32_t flags,
                                rill_progress_fn progress, void* ud, rill_rewind_cost* out) {
  return Guard(__func__, [&] {
    return rill::capi::Rewind(session, position, flags, rill::capi::ToProgress(progress, ud), out);
  });
}

rill_status rill_session_mark(rill_session* session, uint64_t tag) {
  return Guard(__func__, [&] { return rill::capi::Mark(session, tag); });
}

rill_status rill_session_unmark(rill_session* session, uint64_t tag) {
  return Guard(__func__, [&] { return rill::capi::Unmark(session, tag); });
}

rill_status rill_session_checkpoints(const rill_session* session, uint64_t* positions, size_t cap,
                                     size_t* count) {
  return Guard(__func__, [&] { return rill::capi::Checkpoints(session, positions, cap, count); });
}

rill_status rill_session_sync(rill_session* session, const int32_t* ids, size_t n,
                              rill_progress_fn progress, void* ud, rill_sync_report* out) {
  return Guard(__func__, [&] {
    return rill::capi::Sync(session, ids, n, rill::capi::ToProgress(progress, ud), out);
  });
}
