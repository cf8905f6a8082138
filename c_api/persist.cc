// Sessions to files and back, to callbacks and back, and asleep.
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/callback_file.h"
#include "c_api/save_params.h"
#include "c_api/session_call.h"
#include "model/io/file.h"
#include "sdk/session_file/content.h"

namespace rill::capi {
namespace {

// Arguments and report of a call that saves; `save(session, path, params)` does it.
template <typename Save>
rill_status Saving(const rill_session* handle, const rill_save_params* in, uint32_t usual,
                   rill_save_report* out, Save&& save) {
  rill_save_report unused;
  OutStruct<rill_save_report> result("out", OrUnused(out, &unused), sizeof *out);
  RILL_C_TRY(result.status());
  SaveParams params;
  RILL_C_TRY(ReadSaveParams(in, usual, &params));
  return Inside(handle, [&](SessionObject& object) -> rill_status {
    const absl::StatusOr<SaveReport> report = save(*object.session, params);
    if (!report.ok()) return Answer(report.status(), Origin::kSave);
    return result.Write(ToC(*report));
  });
}

rill_status ReadPath(const char* path, size_t len, std::string* out) {
  std::string_view text;
  RILL_C_TRY(CheckText("path", path, len, &text));
  if (text.empty()) return Fail(RILL_E_ARG, "path is empty");
  *out = std::string(text);
  return RILL_OK;
}

rill_status Save(const rill_session* handle, const char* path, size_t len,
                 const rill_save_params* params, rill_save_report* out) {
  std::string name;
  RILL_C_TRY(ReadPath(path, len, &name));
  return Saving(handle, params, kSaveAll, out, [&](Session& session, const SaveParams& p) {
    return session.Save(*FileSystem::Posix(), name, p);
  });
}

rill_status Attach(const rill_session* handle, const char* path, size_t len,
                   const rill_save_params* params, rill_save_report* out) {
  std::string name;
  RILL_C_TRY(ReadPath(path, len, &name));
  return Saving(handle, params, kSaveAll, out, [&](Session& session, const SaveParams& p) {
    return session.Attach(*FileSystem::Posix(), name, p);
  });
}

rill_status Flush(const rill_session* handle, const rill_save_params* params,
                  rill_save_report* out) {
  return Saving(handle, params, RILL_SAVE_BARE, out,
                [](Session& session, const SaveParams& p) { return session.Flush(p); });
}

rill_status Detach(const rill_session* handle) {
  return InsideAsItIs(handle, [](SessionObject& object) -> rill_status {
    return Answer(object.session->Detach(), Origin::kSession);
  });
}

rill_status Write(const rill_session* handle, const rill_save_params* params, rill_write_fn write,
                  void* ud, rill_save_report* out) {
  if (write == nullptr) return Fail(RILL_E_ARG, "write is NULL");
  const auto sink = [&](absl::Span<const std::byte> bytes) -> absl::Status {
    const int32_t answer = write(ud, bytes.data(), bytes.size());
    if (answer == 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("the write callback answered ", answer, " to ", bytes.size(), " bytes"));
  };
  return Saving(handle, params, kSaveAll, out,
                [&](Session& session, const SaveParams& p) { return session.Write(sink, p); });
}

rill_status LoadFrom(rill_model* handle, FileSystem& fs, const std::string& path,
                     const LoadParams& params, rill_session** out, rill_load_report* out_report) {
  rill_load_report unused;
  OutStruct<rill_load_report> result("out_report", OrUnused(out_report, &unused),
                                     sizeof *out_report);
  RILL_C_TRY(result.status());
  std::shared_ptr<ModelObject> model;
  RILL_C_TRY(FindModel(handle, &model));
  LoadReport report;
  auto session = Session::Load(model->model, fs, path, params, &report);
  if (!session.ok()) return Answer(session.status(), Origin::kFile);
  rill_load_report told = ToC(report);
  told.max_tokens = static_cast<uint64_t>((*session)->shape().max_tokens);
  auto object = std::make_shared<SessionObject>();
  object->session = *std::move(session);
  RILL_C_TRY(Publish(Kind::kSession, std::move(object), out));
  return result.Write(told);
}

rill_status Load(rill_model* model, const char* path, size_t len, const rill_load_params* in,
                 rill_session** out, rill_load_report* out_report) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  std::string name;
  RILL_C_TRY(ReadPath(path, len, &name));
  LoadParams params;
  RILL_C_TRY(ReadLoadParams(in, &params));
  return LoadFrom(model, *FileSystem::Posix(), name, params, out, out_report);
}

rill_status Read(rill_model* model, uint64_t size, rill_read_fn read, void* ud,
                 const rill_load_params* in, rill_session** out, rill_load_report* out_report) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  if (read == nullptr) return Fail(RILL_E_ARG, "read is NULL");
  LoadParams params;
  RILL_C_TRY(ReadLoadParams(in, &params));
  if (params.attach) return Fail(RILL_E_ARG, "attach: what a callback gives is no file");
  CallbackFiles files(size, read, ud);
  return LoadFrom(model, files, "the caller's storage", params, out, out_report);
}

rill_status Hibernate(const rill_session* handle, const char* path, size_t len,
                      rill_save_report* out) {
  std::string_view name;
  RILL_C_TRY(CheckText("path", path, len, &name));
  return Saving(handle, nullptr, kSaveAll, out, [&](Session& session, const SaveParams&) {
    return session.Hibernate(*FileSystem::Posix(), std::string(name));
  });
}

rill_status Wake(const rill_session* handle) {
  return Inside(handle, [](SessionObject&) -> rill_status { return RILL_OK; });
}

rill_status SetUser(const rill_session* handle, const void* data, size_t n) {
  RILL_C_TRY(CheckSpan("data", data, n, 1));
  if (n > kMaxUserBlobBytes) {
    return Fail(RILL_E_ARG, absl::StrCat("data: ", n, " bytes are over ", kMaxUserBlobBytes));
  }
  return InsideAsItIs(handle, [&](SessionObject& object) -> rill_status {
    std::string blob(n, '\0');
    if (n > 0) std::memcpy(blob.data(), data, n);
    return Answer(object.session->SetUserBlob(std::move(blob)), Origin::kSession);
  });
}

rill_status GetUser(const rill_session* handle, void* buf, size_t cap, size_t* count) {
  RILL_C_TRY(NeedOut("count", count));
  *count = 0;
  RILL_C_TRY(CheckSpan("buf", buf, cap, 1));
  return InsideAsItIs(handle, [&](SessionObject& object) -> rill_status {
    const absl::StatusOr<std::string> blob = object.session->UserBlob();
    if (!blob.ok()) return Answer(blob.status(), Origin::kSession);
    return FillBuffer(blob->data(), blob->size(), static_cast<char*>(buf), cap, count);
  });
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_session_save(rill_session* session, const char* path, size_t path_len,
                              const rill_save_params* params, rill_save_report* out) {
  return Guard(__func__, [&] { return rill::capi::Save(session, path, path_len, params, out); });
}

rill_status rill_session_attach(rill_session* session, const char* path, size_t path_len,
                                const rill_save_params* params, rill_save_report* out) {
  return Guard(__func__, [&] { return rill::capi::Attach(session, path, path_len, params, out); });
}

rill_status rill_session_flush(rill_session* session, const rill_save_params* params,
                               rill_save_report* out) {
  return Guard(__func__, [&] { return rill::capi::Flush(session, params, out); });
}

rill_status rill_session_detach(rill_session* session) {
  return Guard(__func__, [&] { return rill::capi::Detach(session); });
}

rill_status rill_session_load(rill_model* model, const char* path, size_t path_len,
                              const rill_load_params* params, rill_session** out,
                              rill_load_report* out_report) {
  return Guard(__func__,
               [&] { return rill::capi::Load(model, path, path_len, params, out, out_report); });
}

rill_status rill_session_write(rill_session* session, const rill_save_params* params,
                               rill_write_fn write, void* ud, rill_save_report* out) {
  return Guard(__func__, [&] { return rill::capi::Write(session, params, write, ud, out); });
}

rill_status rill_session_read(rill_model* model, uint64_t size, rill_read_fn read, void* ud,
                              const rill_load_params* params, rill_session** out,
                              rill_load_report* out_report) {
  return Guard(__func__,
               [&] { return rill::capi::Read(model, size, read, ud, params, out, out_report); });
}

rill_status rill_session_hibernate(rill_session* session, const char* path, size_t path_len,
                                   rill_save_report* out) {
  return Guard(__func__, [&] { return rill::capi::Hibernate(session, path, path_len, out); });
}

rill_status rill_session_wake(rill_session* session) {
  return Guard(__func__, [&] { return rill::capi::Wake(session); });
}

rill_status rill_session_set_user(rill_session* session, const void* data, size_t n) {
  return Guard(__func__, [&] { return rill::capi::SetUser(session, data, n); });
}

rill_status rill_session_get_user(const rill_session* session, void* buf, size_t cap,
                                  size_t* count) {
  return Guard(__func__, [&] { return rill::capi::GetUser(session, buf, cap, count); });
}
