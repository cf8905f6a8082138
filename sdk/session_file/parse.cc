#include "sdk/session_file/parse.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"
#include "model/io/crc32c.h"

namespace rill::session_file {
namespace {

absl::Status Truncated(uint64_t found, uint64_t expected) {
  return absl::DataLossError(
      absl::StrCat("truncated: the file has ", found, " bytes, expected ", expected));
}

absl::Status Wrong(std::string_view what, uint64_t found, uint64_t expected) {
  return absl::DataLossError(absl::StrCat(AbslView(what), " is ", found, ", expected ", expected));
}

Sector SectorAt(const ParsedFile& file, uint64_t offset) {
  Sector sector;
  std::memcpy(sector.data(), file.at(offset), sector.size());
  return sector;
}

absl::StatusOr<Header> ReadHeader(const ReadableFile& file) {
  Sector sector{};
  const uint64_t available = std::min<uint64_t>(file.size(), kSector);
  RILL_RETURN_IF_ERROR(file.ReadAt(0, sector.data(), static_cast<size_t>(available)));
  return DecodeHeader(sector, available);
}

absl::Status CheckExpected(const Header& header, const ParseLimits& limits) {
  if (limits.identity != nullptr)
    RILL_RETURN_IF_ERROR(CheckIdentity(header.identity, *limits.identity));
  if (limits.geometry != nullptr)
    RILL_RETURN_IF_ERROR(CheckGeometry(header.geometry, *limits.geometry));
  return absl::OkStatus();
}

// A root of this file in its own place, whatever the file holds of what it points to.
bool Belongs(const Root& root, int index, const FileState& state) {
  return root.generation > 0 && root.index() == index && root.header_crc == state.header.crc;
}

void ReadRoots(ParsedFile& file) {
  file.front[0] = SectorAt(file, 0);
  for (int i = 0; i < 2; ++i) {
    RootInfo& info = file.roots[i];
    file.front[1 + i] = SectorAt(file, kRootOffset + static_cast<uint64_t>(i) * kSector);
    info.state = DecodeRoot(file.front[1 + i], &info.root);
    if (info.state == RecordState::kValid && !Belongs(info.root, i, file.state))
      info.state = RecordState::kInvalid;
  }
}

// The mark that a flush leaves at the end of the file while it is under way, or none. Read, not
// mapped: when another process's flush ends just now the file becomes shorter by it, and that would
// be a signal.
absl::StatusOr<bool> ReadMark(const ReadableFile& readable, const ParsedFile& file,
                              OpenMark* mark) {
  if (file.file_bytes % kSector != 0 || file.file_bytes < file.state.layout.log_begin + kSector)
    return false;
  const uint64_t offset = file.file_bytes - kSector;
  Sector sector;
  const absl::Status status = readable.ReadAt(offset, sector.data(), sector.size());
  if (absl::IsDataLoss(status)) return false;
  if (!status.ok()) return status;
  return DecodeOpenMark(sector, mark) && mark->log_end == offset &&
         mark->header_crc == file.state.header.crc;
}

absl::Status DamagedRoot(int index) {
  return absl::DataLossError(absl::StrCat("root ", index == 0 ? "A" : "B", " at ",
                                          kRootOffset + static_cast<uint64_t>(index) * kSector,
                                          " is damaged"));
}

// The index of the newest valid root.
absl::StatusOr<int> NewestRoot(const ParsedFile& file) {
  const bool valid[2] = {file.roots[0].state == RecordState::kValid,
                         file.roots[1].state == RecordState::kValid};
  if (!valid[0] && !valid[1]) return DamagedRoot(0);
  if (!valid[1]) return 0;
  if (!valid[0]) return 1;
  const uint64_t a = file.roots[0].root.generation, b = file.roots[1].root.generation;
  const int newest = a > b ? 0 : 1;
  const uint64_t distance = newest == 0 ? a - b : b - a;
  if (distance != 1) return Wrong("distance of the roots' generations", distance, 1);
  return newest;
}

absl::Status CheckRoot(const ParsedFile& file, const Root& root) {
  if (root.log_end > file.file_bytes) return Truncated(file.file_bytes, root.log_end);
  const auto end = CheckedAdd(root.directory_offset, root.directory_bytes);
  if (!end || *end != root.log_end || root.directory_offset < file.state.layout.log_begin)
    return Wrong("end of the root's directory", end.value_or(0), root.log_end);
  return absl::OkStatus();
}

// Which root is the file. A flush that did not come to its end leaves its mark behind it, and only
// then may the root or slot that it was writing be bad; anything else that is bad is damage.
absl::Status SelectRoot(const ReadableFile& readable, ParsedFile& file) {
  OpenMark mark;
  RILL_ASSIGN_OR_RETURN(const bool has_mark, ReadMark(readable, file, &mark));
  RILL_ASSIGN_OR_RETURN(int index, NewestRoot(file));
  const Root* root = &file.roots[index].root;
  RILL_RETURN_IF_ERROR(CheckRoot(file, *root));
  const absl::Status slot = CheckSlot(file, *root);
  file.unfinished = has_mark && mark.base_generation == root->generation;
  if (!slot.ok()) {
    const RootInfo& older = file.roots[1 - index];
    const bool torn = has_mark && mark.base_generation + 1 == root->generation &&
                      older.state == RecordState::kValid;
    if (!torn) return slot;
    index = 1 - index;
    root = &file.roots[index].root;
    RILL_RETURN_IF_ERROR(CheckRoot(file, *root));
    RILL_RETURN_IF_ERROR(CheckSlot(file, *root));
    file.unfinished = true;
  }
  if (file.roots[1 - index].state == RecordState::kInvalid && !file.unfinished)
    return DamagedRoot(1 - index);
  file.state.root = *root;
  return absl::OkStatus();
}

absl::StatusOr<BatchDirectory> ReadDirectory(const ParsedFile& file, uint64_t offset,
                                             uint64_t bytes, uint32_t expected_crc) {
  if (bytes == 0 || bytes % kSector != 0 || bytes > kMaxDirectoryBytes)
    return Wrong("size of a directory", bytes, kMaxDirectoryBytes);
  const std::string copy(reinterpret_cast<const char*>(file.at(offset)),
                         static_cast<size_t>(bytes));
  const uint32_t crc = Crc32c(copy.data(), copy.size());
  if (crc != expected_crc) return BadChecksum("directory", offset, crc, expected_crc);
  auto directory = DecodeDirectory(copy, offset, file.state.header.geometry);
  if (directory.ok()) return directory;
  return absl::DataLossError(
      absl::StrCat("directory at ", offset, ": ", directory.status().message()));
}

// A directory's place in the chain: it starts where the one before ends, the first at the log's
// beginning.
absl::Status CheckLink(const ParsedFile& file, const BatchDirectory& d, uint64_t generation) {
  if (d.generation != generation) return Wrong("generation of a batch", d.generation, generation);
  const uint64_t log_begin = file.state.layout.log_begin;
  if (generation == 1) {
    if (d.previous_offset != 0 || d.previous_bytes != 0 || d.previous_crc != 0)
      return Wrong("what is before the first batch", d.previous_offset, 0);
    if (d.begin != log_begin) return Wrong("begin of the first batch", d.begin, log_begin);
    return absl::OkStatus();
  }
  const auto end = CheckedAdd(d.previous_offset, d.previous_bytes);
  if (d.previous_offset < log_begin || !end || *end != d.begin)
    return Wrong("begin of a batch", d.begin, end.value_or(0));
  return absl::OkStatus();
}

// Newest to oldest, as the chain goes. Every link lies before the one that led to it.
absl::Status ReadChain(ParsedFile& file) {
  const Root& root = file.state.root;
  uint64_t offset = root.directory_offset, bytes = root.directory_bytes;
  uint32_t crc = root.directory_crc;
  for (uint64_t generation = root.generation; generation > 0; --generation) {
    RILL_ASSIGN_OR_RETURN(BatchDirectory d, ReadDirectory(file, offset, bytes, crc));
    RILL_RETURN_IF_ERROR(CheckLink(file, d, generation));
    offset = d.previous_offset;
    bytes = d.previous_bytes;
    crc = d.previous_crc;
    file.batches.push_back(std::move(d));
  }
  std::reverse(file.batches.begin(), file.batches.end());
  return absl::OkStatus();
}

// Aligned: records begin at sectors.
absl::Span<const int32_t> TokensOf(const ParsedFile& file, const BatchDirectory& batch) {
  for (const Record& r : batch.records) {
    if (r.type == RecordType::kTokens)
      return {reinterpret_cast<const int32_t*>(file.at(r.offset)), static_cast<size_t>(r.count)};
  }
  return {};
}

absl::Status CheckVocabulary(absl::Span<const int32_t> tokens, const BatchDirectory& batch,
                             uint32_t vocab_size) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= vocab_size) {
      return absl::DataLossError(absl::StrCat("token ", batch.kept + i, " is ", tokens[i],
                                              ", the vocabulary has ", vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status Replay(ParsedFile& file) {
  const SessionGeometry& geometry = file.state.header.geometry;
  for (const BatchDirectory& batch : file.batches) {
    for (const Record& r : batch.records) {
      if (r.type == RecordType::kPages || r.type == RecordType::kRung ||
          r.type == RecordType::kRing) {
        continue;  // not touched before they are used
      }
      RILL_RETURN_IF_ERROR(CheckRecord(file, r));
    }
    const auto tokens = TokensOf(file, batch);
    RILL_RETURN_IF_ERROR(CheckVocabulary(tokens, batch, geometry.vocab_size));
    RILL_RETURN_IF_ERROR(file.state.timeline.Apply(batch, tokens, geometry));
  }
  const Root& root = file.state.root;
  const BatchDirectory& last = file.batches.back();
  if (root.position != last.position) return Wrong("position", root.position, last.position);
  if (root.ledger != last.ledger)
    return absl::DataLossError("the root's hash is not that of the tokens");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ParsedFile> Parse(const ReadableFile& file, const ParseLimits& limits) {
  ParsedFile parsed;
  parsed.file_bytes = file.size();
  RILL_ASSIGN_OR_RETURN(parsed.state.header, ReadHeader(file));
  RILL_RETURN_IF_ERROR(CheckExpected(parsed.state.header, limits));
  parsed.state.layout = MakeLayout(parsed.state.header.geometry);
  const uint64_t least = parsed.state.layout.log_begin + kSector;
  if (parsed.file_bytes < least) return Truncated(parsed.file_bytes, least);
  RILL_ASSIGN_OR_RETURN(parsed.image,
                        FileImage::Open(file, parsed.file_bytes, limits.max_copy_bytes));
  ReadRoots(parsed);
  RILL_RETURN_IF_ERROR(SelectRoot(file, parsed));
  if (parsed.state.root.position > limits.max_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat("the session has ", parsed.state.root.position,
                                                     " tokens, at most ", limits.max_tokens));
  }
  RILL_RETURN_IF_ERROR(ReadChain(parsed));
  RILL_RETURN_IF_ERROR(Replay(parsed));
  return parsed;
}

}  // namespace rill::session_file
