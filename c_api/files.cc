// Session files without a model.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/save_params.h"
#include "c_api/session_call.h"
#include "model/io/file.h"
#include "sdk/session_file/tools.h"

namespace rill::capi {
namespace {

template <size_t N>
void CopyDigest(const Sha256Digest& from, uint8_t (&to)[N]) {
  static_assert(N == std::tuple_size<Sha256Digest>::value);
  std::copy(from.begin(), from.end(), to);
}

template <size_t N>
void CopyName(std::string_view from, char (&to)[N]) {  // ASCII, within the format's limits
  std::copy_n(from.data(), std::min(from.size(), N - 1), to);
}

void CountSegments(const SessionFileInfo& from, rill_file_info* to) {
  for (const SessionSegment& segment : from.segments) {
    if (segment.live_bytes == 0) continue;
    if (segment.kind == "pages") to->page_bytes += segment.live_bytes;
    if (segment.kind == "rung") to->checkpoints += 1;
    if (segment.kind == "ring") to->recorded = segment.count;
    if (segment.kind == "user blob") to->user_bytes = segment.live_bytes;
  }
}

rill_file_info ToC(const SessionFileInfo& from) {
  rill_file_info to{};
  to.unfinished_flush = from.unfinished_flush ? 1 : 0;
  to.revision = from.generation;
  to.tokens = from.position;
  to.state_bytes = from.geometry.fixed_bytes;
  to.file_bytes = from.file_bytes;
  to.superseded = from.superseded;
  CountSegments(from, &to);
  CopyDigest(from.ledger, to.ledger);
  CopyDigest(from.identity.architecture, to.architecture);
  CopyDigest(from.identity.tokenizer, to.tokenizer);
  CopyDigest(from.identity.weights, to.weights);
  CopyName(from.identity.quantization, to.quantization);
  CopyName(from.identity.state_layout, to.state_layout);
  CopyName(from.identity.numerics, to.numerics);
  CopyName(from.geometry.mla_dtype, to.mla_dtype);
  return to;
}

rill_status Inspect(const char* path, size_t len, rill_file_info* out) {
  OutStruct<rill_file_info> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::string_view name;
  RILL_C_TRY(CheckText("path", path, len, &name));
  const auto info = InspectSessionFile(*FileSystem::Posix(), std::string(name));
  if (!info.ok()) return Answer(info.status(), Origin::kFile);
  return result.Write(ToC(*info));
}

rill_status Verify(const char* path, size_t len, rill_progress_fn progress, void* ud) {
  std::string_view name;
  RILL_C_TRY(CheckText("path", path, len, &name));
  return Answer(
      VerifySessionFile(*FileSystem::Posix(), std::string(name), ToProgress(progress, ud)),
      Origin::kFile);
}

rill_status Compact(std::string_view from, std::string_view to, const rill_save_params* in,
                    rill_save_report* out) {
  rill_save_report unused;
  OutStruct<rill_save_report> result("out", OrUnused(out, &unused), sizeof *out);
  RILL_C_TRY(result.status());
  SaveParams params;
  RILL_C_TRY(ReadSaveParams(in, kSaveAll, &params));
  SaveOptions options;
  options.durability = params.durability;
  options.with_ladder = params.ladder;
  options.with_ring = params.ring;
  options.progress = params.progress;
  const auto report =
      CompactSessionFile(*FileSystem::Posix(), std::string(from), std::string(to), options);
  if (absl::IsResourceExhausted(report.status())) return Answer(report.status(), Origin::kSave);
  if (!report.ok()) return Answer(report.status(), Origin::kFile);
  return result.Write(rill::capi::ToC(*report));
}

// The bit of a field of SessionIdentity.
uint32_t BitOf(std::string_view field) {
  constexpr struct {
    std::string_view name;
    uint32_t bit;
  } kFields[] = {
      {"architecture", RILL_DIFFERS_ARCHITECTURE}, {"tokenizer", RILL_DIFFERS_TOKENIZER},
      {"weights", RILL_DIFFERS_WEIGHTS},           {"quantization", RILL_DIFFERS_QUANTIZATION},
      {"state_layout", RILL_DIFFERS_STATE_LAYOUT}, {"numerics", RILL_DIFFERS_NUMERICS}};
  for (const auto& known : kFields) {
    if (known.name == field) return known.bit;
  }
  return 0;
}

rill_status Diff(std::string_view a, std::string_view b, rill_file_difference* out) {
  OutStruct<rill_file_difference> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  const auto found = DiffSessionFiles(*FileSystem::Posix(), std::string(a), std::string(b));
  if (!found.ok()) return Answer(found.status(), Origin::kFile);
  rill_file_difference to{};
  for (const std::string& field : found->identity) to.identity |= BitOf(field);
  to.tokens_a = found->tokens_a;
  to.tokens_b = found->tokens_b;
  to.common_tokens = found->common_tokens;
  return result.Write(to);
}

}  // namespace
}  // namespace rill::capi

using namespace rill::capi;  // the entry points below: checks of their arguments, then the call

rill_status rill_file_inspect(const char* path, size_t path_len, rill_file_info* out) {
  return Guard(__func__, [&] { return Inspect(path, path_len, out); });
}

rill_status rill_file_verify(const char* path, size_t path_len, rill_progress_fn progress,
                             void* ud) {
  return Guard(__func__, [&] { return Verify(path, path_len, progress, ud); });
}

rill_status rill_file_compact(const char* from, size_t from_len, const char* to, size_t to_len,
                              const rill_save_params* params, rill_save_report* out) {
  return Guard(__func__, [&]() -> rill_status {
    std::string_view source, target;
    RILL_C_TRY(CheckText("from", from, from_len, &source));
    RILL_C_TRY(CheckText("to", to, to_len, &target));
    return Compact(source, target, params, out);
  });
}

rill_status rill_file_diff(const char* a, size_t a_len, const char* b, size_t b_len,
                           rill_file_difference* out) {
  return Guard(__func__, [&]() -> rill_status {
    std::string_view left, right;
    RILL_C_TRY(CheckText("a", a, a_len, &left));
    RILL_C_TRY(CheckText("b", b, b_len, &right));
    return Diff(left, right, out);
  });
}
