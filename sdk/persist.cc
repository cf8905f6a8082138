// A session to a file and back: describes the session's memory as a SessionContent, and makes a session of one.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "sdk/generation.h"
#include "sdk/session_extras.h"
#include "sdk/session_identity.h"
#include "sdk/session_impl.h"

namespace rill {
namespace {

// Device memory as host memory: itself on host devices, a copy elsewhere.
class Staged {
 public:
  absl::StatusOr<const std::byte*> Of(Device& device, const void* data, size_t bytes) {
    if (device.is_host() || bytes == 0) return static_cast<const std::byte*>(data);
    copy_.resize(bytes);
    RILL_RETURN_IF_ERROR(device.CopyOut(copy_.data(), data, bytes));
    return copy_.data();
  }
  std::vector<std::byte>& copy() { return copy_; }

 private:
  std::vector<std::byte> copy_;
};

absl::Span<const float> Floats(const std::byte* data, size_t n) { return {reinterpret_cast<const float*>(data), n}; }

}  // namespace

// The session as a file sees it, for the length of a call.
struct Session::Impl::FileParts final : public StateSource {
  explicit FileParts(Impl& inside) : impl(inside), device(inside.session.model_->device()) {}

  // `follows`: the file that is flushed to; null for a whole save.
  absl::Status Collect(const SaveParams& params, const AttachedSessionFile* follows = nullptr);
  absl::StatusOr<const std::byte*> Page(uint64_t index) override;
  absl::StatusOr<const std::byte*> Rung(size_t index) override;
  absl::Status CollectRung(const rill::Rung& rung);
  absl::Status CollectRing();

  Impl& impl;
  Device& device;
  SessionGeometry geometry;
  SessionContent content;
  std::vector<const rill::Rung*> rungs;
  std::vector<RungContent> ladder;
  std::vector<std::vector<float>> rung_logits;   // off the host
  std::string extras;
  Staged fixed, logits, page, rung, ring;
};

absl::Status Session::Impl::FileParts::Collect(const SaveParams& params, const AttachedSessionFile* follows) {
  const Model& model = *impl.session.model_;
  const SessionShape& shape = impl.session.shape_;
  geometry = GeometryOf(model, shape.mla_dtype);
  geometry.ring_slots = static_cast<uint32_t>(impl.state->ring().slots());
  geometry.ring_bytes = impl.state->ring().buffer().bytes();
  const size_t position = static_cast<size_t>(impl.state->position());
  content.tokens = {impl.ledger.as<int32_t>(), position};
  content.source = this;
  RILL_ASSIGN_OR_RETURN(const std::byte* const state, fixed.Of(device, impl.state->fixed().data(), geometry.fixed_bytes));
  content.fixed = {state, static_cast<size_t>(geometry.fixed_bytes)};
  if (position > 0) {
    const TensorView live = impl.forward->logits();
    RILL_ASSIGN_OR_RETURN(const std::byte* const row, logits.Of(device, live.data, static_cast<size_t>(live.bytes())));
    content.logits = Floats(row, geometry.vocab_size);
  }
  if (params.ring) RILL_RETURN_IF_ERROR(CollectRing());
  if (params.ladder) {
    rungs = impl.RungsToWrite(follows, params.ring);
    rung_logits.reserve(rungs.size());
    for (const rill::Rung* each : rungs) RILL_RETURN_IF_ERROR(CollectRung(*each));
    content.ladder = ladder;
  }
  extras = EncodeExtras({shape.max_tokens, shape.prefill_chunk, shape.rewind_window, shape.ladder_slots},
                        impl.OpenGeneration());
  content.generation = extras;
  content.user_blob = impl.user_blob;
  return absl::OkStatus();
}

absl::Status Session::Impl::FileParts::CollectRung(const rill::Rung& from) {
  RungContent to;
  to.position = static_cast<uint64_t>(from.position);
  to.flags = static_cast<uint32_t>(from.kind);
  to.tag = from.tag;
  const std::byte* state = static_cast<const std::byte*>(from.state.data());
  const std::byte* row = state + geometry.fixed_bytes;
  if (device.is_host()) {
    to.fixed = {state, static_cast<size_t>(geometry.fixed_bytes)};
  } else if (from.has_logits) {
    std::vector<float>& copy = rung_logits.emplace_back(geometry.vocab_size);
    RILL_RETURN_IF_ERROR(device.CopyOut(copy.data(), row, copy.size() * sizeof(float)));
    row = reinterpret_cast<const std::byte*>(copy.data());
  }
  if (from.has_logits) to.logits = Floats(row, geometry.vocab_size);
  ladder.push_back(to);
  return absl::OkStatus();
}

absl::Status Session::Impl::FileParts::CollectRing() {
  RILL_RETURN_IF_ERROR(impl.ReadFileRing());
  const int64_t end = impl.state->position(), first = impl.state->ring().first(end);
  if (geometry.ring_bytes == 0 || first >= end) return absl::OkStatus();
  RILL_ASSIGN_OR_RETURN(const std::byte* const bytes,
                        ring.Of(device, impl.state->ring().buffer().data(), geometry.ring_bytes));
  content.ring = {static_cast<uint64_t>(first), static_cast<uint64_t>(end), {bytes, static_cast<size_t>(geometry.ring_bytes)}};
  return absl::OkStatus();
}

// Rows after the position, and what follows the last layer's, mean nothing; as zeros they make equal sessions equal files.
absl::StatusOr<const std::byte*> Session::Impl::FileParts::Page(uint64_t index) {
  const void* data = impl.state->pages()[index].data();
  const int64_t rows = std::min(kPageTokens, impl.state->position() - static_cast<int64_t>(index) * kPageTokens);
  RILL_ASSIGN_OR_RETURN(const std::byte* const bytes, page.Of(device, data, geometry.page_bytes));
  const ModelConfig& c = impl.session.model_->config();
  const size_t row = static_cast<size_t>(c.mla_row() * SizeOf(impl.session.shape_.mla_dtype));
  const size_t used = row * static_cast<size_t>(kPageTokens * c.n_mla_layers());
  if (rows == kPageTokens && used == geometry.page_bytes) return bytes;
  std::vector<std::byte>& copy = page.copy();
  if (device.is_host()) copy.assign(bytes, bytes + geometry.page_bytes);
  size_t at = 0;
  for (int64_t layer = 0; layer < c.n_mla_layers(); ++layer, at += row * kPageTokens) {
    std::memset(copy.data() + at + row * static_cast<size_t>(rows), 0, row * static_cast<size_t>(kPageTokens - rows));
  }
  std::memset(copy.data() + used, 0, copy.size() - used);
  return copy.data();
}

absl::StatusOr<const std::byte*> Session::Impl::FileParts::Rung(size_t index) {
  return rung.Of(device, rungs[index]->state.data(), geometry.fixed_bytes);
}

FileProgress Session::Impl::Watch(const AppendProgress& progress) const {
  return [this, &progress](uint64_t done, uint64_t total) {
    return (progress && progress(done, total)) || gate.cancelled();
  };
}

absl::StatusOr<SaveReport> Session::Save(FileSystem& fs, const std::string& path, const SaveParams& params) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  Impl::FileParts parts(*impl_);
  RILL_RETURN_IF_ERROR(parts.Collect(params));
  SaveReport report;
  RILL_RETURN_IF_ERROR(impl_->Finish(
      SaveSessionFile(fs, path, IdentityOf(*model_), parts.geometry, parts.content,
                      {params.durability, params.ladder, params.ring, impl_->Watch(params.progress)}, &report)));
  return report;
}

absl::StatusOr<SaveReport> Session::Write(ByteSink sink, const SaveParams& params) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  Impl::FileParts parts(*impl_);
  RILL_RETURN_IF_ERROR(parts.Collect(params));
  SaveReport report;
  RILL_RETURN_IF_ERROR(impl_->Finish(
      WriteSession(IdentityOf(*model_), parts.geometry, parts.content,
                   {params.durability, params.ladder, params.ring, impl_->Watch(params.progress)}, sink, &report)));
  return report;
}

absl::StatusOr<SaveReport> Session::Attach(FileSystem& fs, const std::string& path, const SaveParams& params) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  Impl::FileParts parts(*impl_);
  RILL_RETURN_IF_ERROR(parts.Collect(params));
  SaveReport report;
  auto attached = AttachedSessionFile::Create(fs, path, IdentityOf(*model_), parts.geometry, parts.content,
                                              {params.durability, params.ladder, params.ring, impl_->Watch(params.progress)},
                                              &report);
  RILL_RETURN_IF_ERROR(impl_->Finish(attached.status()));
  impl_->attached = *std::move(attached);
  impl_->stable_prefix = length();
  return report;
}

absl::StatusOr<SaveReport> Session::Impl::Flush(const SaveParams& params) {
  if (attached == nullptr) return absl::FailedPreconditionError("session: attached to no file");
  FileParts parts(*this);
  RILL_RETURN_IF_ERROR(parts.Collect(params, attached.get()));
  absl::StatusOr<SaveReport> report = attached->Flush(
      parts.content, {params.durability, stable_prefix, params.ladder, params.ring, Watch(params.progress)});
  if (report.ok()) stable_prefix = session.length();
  return report;
}

absl::StatusOr<SaveReport> Session::Flush(const SaveParams& params) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  absl::StatusOr<SaveReport> report = impl_->Flush(params);
  RILL_RETURN_IF_ERROR(impl_->Finish(report.status()));
  return report;
}

absl::Status Session::Detach() {
  CallScope call(impl_->gate);
  RILL_RETURN_IF_ERROR(call.status());
  impl_->attached.reset();
  return absl::OkStatus();
}

absl::StatusOr<bool> Session::attached() const {
  CallScope call(impl_->gate);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->attached != nullptr;
}

absl::Status Session::SetUserBlob(std::string blob) {
  CallScope call(impl_->gate);
  RILL_RETURN_IF_ERROR(call.status());
  if (blob.size() > kMaxUserBlobBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("user blob: ", blob.size(), " bytes, at most ", kMaxUserBlobBytes));
  }
  impl_->user_blob = std::move(blob);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Session::UserBlob() const {
  CallScope call(impl_->gate);
  RILL_RETURN_IF_ERROR(call.status());
  return impl_->user_blob;
}

// ---- loading ---------------------------------------------------------------------------------------------------------

namespace {

absl::StatusOr<std::shared_ptr<const SessionFile>> OpenFor(const Model& model, FileSystem& fs, const std::string& path,
                                                           const LoadParams& params) {
  OpenSessionOptions options;
  const SessionIdentity mine = IdentityOf(model);
  if (!params.any_numerics) options.identity = &mine;
  options.lazy = params.lazy;
  options.progress = params.progress;
  RILL_ASSIGN_OR_RETURN(std::shared_ptr<const SessionFile> file, SessionFile::Open(fs, path, options));
  if (params.any_numerics) {
    SessionIdentity theirs = file->identity();
    theirs.numerics = mine.numerics;
    RILL_RETURN_IF_ERROR(CheckIdentity(theirs, mine));
  }
  return file;
}

absl::StatusOr<SessionShape> ShapeOf(const Model& model, const SessionFile& file, const LoadParams& params) {
  RILL_ASSIGN_OR_RETURN(const SessionExtras extras, DecodeExtras(file.content().generation));
  SessionShape shape;
  shape.max_tokens = params.max_tokens > 0 ? params.max_tokens : extras.shape.max_tokens;
  shape.prefill_chunk = params.prefill_chunk > 0 ? params.prefill_chunk : extras.shape.prefill_chunk;
  shape.rewind_window = params.rewind_window >= 0 ? params.rewind_window : extras.shape.rewind_window;
  shape.ladder_slots = params.ladder_slots > 0 ? params.ladder_slots : extras.shape.ladder_slots;
  shape.mla_dtype = file.geometry().mla_dtype == Name(DType::kF32) ? DType::kF32 : DType::kBf16;
  RILL_RETURN_IF_ERROR(Validate(shape));
  if (file.position() > static_cast<uint64_t>(shape.max_tokens)) {
    return absl::OutOfRangeError(
        absl::StrCat("load: the file has ", file.position(), " tokens, the limit is ", shape.max_tokens));
  }
  SessionGeometry mine = GeometryOf(model, shape.mla_dtype);
  mine.ring_bytes = file.geometry().ring_bytes;  // another window only means that its records are not used
  mine.ring_slots = file.geometry().ring_slots;
  RILL_RETURN_IF_ERROR(CheckGeometry(file.geometry(), mine));
  return shape;
}

}  // namespace

// Full pages are the file's own on host devices; the last one is written to, so it is copied.
absl::StatusOr<std::vector<BlockRef>> Session::Impl::LoadPages(const SessionFile& file) {
  Device& device = session.model_->device();
  const uint64_t page_bytes = file.geometry().page_bytes, full = file.full_pages();
  std::vector<BlockRef> pages;
  if (page_bytes == 0) return pages;
  if (device.is_host()) {
    std::vector<void*> data;
    for (uint64_t i = 0; i < full; ++i) {
      RILL_ASSIGN_OR_RETURN(const std::byte* const page, file.Page(i));
      data.push_back(const_cast<std::byte*>(page));  // a block that is not the pool's own is never written to
    }
    pages = BlockPool::Adopt(data, file.memory());
  }
  const uint64_t n = static_cast<uint64_t>(CeilDiv(static_cast<int64_t>(file.position()), kPageTokens));
  for (uint64_t i = pages.size(); i < n; ++i) {
    RILL_ASSIGN_OR_RETURN(const std::byte* const page, file.Page(i));
    BlockRef block = state->pool()->Take();
    if (block.empty()) return absl::InternalError(absl::StrCat("load: no page left for ", i, " of ", n));
    RILL_RETURN_IF_ERROR(device.CopyIn(block.data(), page, page_bytes));
    pages.push_back(std::move(block));
  }
  return pages;
}

absl::Status Session::Impl::LoadFrom(const std::shared_ptr<const SessionFile>& file, bool lazy) {
  const SessionContent content = file->content();
  RILL_ASSIGN_OR_RETURN(SessionExtras extras, DecodeExtras(content.generation));
  user_blob = std::string(content.user_blob);
  parked_generation = std::move(extras.generation);
  if (content.tokens.empty()) return absl::OkStatus();
  Device& device = session.model_->device();
  if (content.logits.empty()) return absl::DataLossError("session file: tokens without logits");
  RILL_ASSIGN_OR_RETURN(const BlockRef present, ladder.NewBlock());
  RILL_RETURN_IF_ERROR(device.CopyIn(present.data(), content.fixed.data(), content.fixed.size()));
  RILL_RETURN_IF_ERROR(device.CopyIn(static_cast<char*>(present.data()) + content.fixed.size(), content.logits.data(),
                                     content.logits.size() * sizeof(float)));
  RILL_ASSIGN_OR_RETURN(const std::vector<BlockRef> pages, LoadPages(*file));
  RILL_RETURN_IF_ERROR(Assume(content.tokens, present.data(), pages));
  RILL_RETURN_IF_ERROR(LoadLadder(*file));
  RILL_RETURN_IF_ERROR(LoadPrevious(*file, lazy));
  const bool same_ring = content.ring.bytes.size() == state->ring().buffer().bytes() && state->ring().slots() > 0;
  if (same_ring) file_ring = {file, static_cast<int64_t>(content.ring.first), static_cast<int64_t>(content.ring.end)};
  return device.Synchronize();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Load(std::shared_ptr<const Model> model, FileSystem& fs,
                                                       const std::string& path, const LoadParams& params,
                                                       LoadReport* report, Clock* clock) {
  if (model == nullptr) return absl::InvalidArgumentError("session: no model");
  RILL_ASSIGN_OR_RETURN(const std::shared_ptr<const SessionFile> file, OpenFor(*model, fs, path, params));
  RILL_ASSIGN_OR_RETURN(const SessionShape shape, ShapeOf(*model, *file, params));
  RILL_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, Create(model, shape, clock));
  Impl& impl = *session->impl_;
  RILL_RETURN_IF_ERROR(impl.LoadFrom(file, params.lazy));
  if (params.lazy) {
    impl.file_rungs.file = file;
    for (const RungContent& rung : file->content().ladder) {
      impl.file_rungs.unchecked.push_back(static_cast<int64_t>(rung.position));
    }
  }
  if (params.attach) {
    impl.attached = AttachedSessionFile::Attach(fs, path, *file);
    impl.stable_prefix = session->length();
  }
  if (report != nullptr) {
    *report = {file->generation(), file->position(), impl.ladder.rungs().size(),
               static_cast<uint64_t>(impl.state->position() - impl.FirstRecorded()), file->mapped(),
               !impl.parked_generation.empty(), file->unfinished_flush()};
  }
  return session;
}

// ---- sleep -----------------------------------------------------------------------------------------------------------

absl::StatusOr<SaveReport> Session::Hibernate(FileSystem& fs, const std::string& path) {
  AwakeScope call(*impl_);
  RILL_RETURN_IF_ERROR(call.status());
  Impl& impl = *impl_;
  SaveReport report;
  const auto lie_down = [&]() -> absl::Status {
    if (path.empty()) {
      RILL_ASSIGN_OR_RETURN(report, impl.Flush({Durability::kFull, true, true, {}}));
      return absl::OkStatus();
    }
    Impl::FileParts parts(impl);
    RILL_RETURN_IF_ERROR(parts.Collect({}));
    return SaveSessionFile(fs, path, IdentityOf(*model_), parts.geometry, parts.content,
                           {Durability::kFull, true, true, impl.Watch({})}, &report);
  };
  RILL_RETURN_IF_ERROR(impl.Finish(lie_down()));
  impl.bed = &fs;
  impl.bed_path = path.empty() ? impl.attached->path() : path;
  impl.bed_tokens = Sha256Of(impl.ledger.as<int32_t>(), static_cast<size_t>(length()) * sizeof(int32_t));
  impl.asleep.store(true);
  impl.file_ring = {};
  impl.file_rungs = {};
  impl.ladder = Ladder();
  impl.forward.reset();
  impl.state.reset();
  impl.ledger = HostBlock();
  impl.sample_scratch = HostBlock();
  impl.host_logits_fresh = false;
  impl.own_bytes = 0;
  return report;
}

// Everything is built beside the sleeping session and taken over at the end: a failure leaves it asleep. Every byte of the
// file is checked, though this session wrote it: nobody knows how long it lay there, and after this nothing would tell a
// page that went bad from one that is right.
absl::Status Session::Impl::Wake() {
  const Model& model = *session.model_;
  RILL_ASSIGN_OR_RETURN(const std::shared_ptr<const SessionFile> file, OpenFor(model, *bed, bed_path, {}));
  if (file->position() != session.length()) {
    return absl::DataLossError(absl::StrCat(bed_path, ": holds ", file->position(), " tokens, the session went to sleep with ",
                                                      session.length()));
  }
  if (file->parsed().state.root.ledger != bed_tokens) {
    return absl::DataLossError(absl::StrCat(bed_path, ": holds other tokens than the session went to sleep with"));
  }
  std::unique_ptr<Session> awake(new Session(session.model_, session.shape_, clock));
  Impl& fresh = *awake->impl_;
  RILL_RETURN_IF_ERROR(fresh.Allocate());
  RILL_RETURN_IF_ERROR(fresh.LoadFrom(file, false));
  state = std::move(fresh.state);
  forward = std::move(fresh.forward);
  ladder = std::move(fresh.ladder);
  ledger = std::move(fresh.ledger);
  sample_scratch = std::move(fresh.sample_scratch);
  file_ring = std::move(fresh.file_ring);
  own_bytes = fresh.own_bytes.load();
  if (generation == nullptr) parked_generation = std::move(fresh.parked_generation);
  asleep.store(false);
  return absl::OkStatus();
}

absl::Status Session::Wake() {
  AwakeScope call(*impl_);
  return call.status();
}

bool Session::asleep() const { return impl_->asleep.load(); }

}  // namespace rill
