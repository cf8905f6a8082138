#include "sdk/session_file/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"
#include "model/io/crc32c.h"

namespace rill::session_file {
namespace {

static_assert(std::endian::native == std::endian::little, "all numbers are little-endian");

constexpr char kRootMagic[8] = {'R', 'I', 'L', 'L', 'R', 'O', 'O', 'T'};
constexpr char kOpenMagic[8] = {'R', 'I', 'L', 'L', 'O', 'P', 'E', 'N'};
constexpr uint32_t kHasLogits = 1;

struct HeaderBytes {
  unsigned char magic[8];
  uint16_t major, minor;
  uint32_t crc;  // of the sector with this field zero
  uint8_t architecture[32], tokenizer[32], weights[32];
  char quantization[64], state_layout[64], numerics[128], mla_dtype[16];
  uint32_t page_tokens, vocab_size;
  uint64_t page_bytes, fixed_bytes, ring_bytes;
  uint32_t ring_slots, reserved;
};
static_assert(sizeof(HeaderBytes) == 424);

struct RootBytes {
  char magic[8];
  uint32_t crc;  // of the sector with this field zero
  uint32_t flags;
  uint64_t generation, position, log_end, directory_offset, directory_bytes;
  uint32_t directory_crc, slot_crc, header_crc, reserved;
  uint8_t ledger[32];
};
static_assert(sizeof(RootBytes) == 104);

struct OpenMarkBytes {
  char magic[8];
  uint32_t crc;  // of the sector with this field zero
  uint32_t header_crc;
  uint64_t base_generation, log_end;
};
static_assert(sizeof(OpenMarkBytes) == 32);

template <typename Bytes>
Sector Seal(Bytes& bytes) {
  Sector sector{};
  bytes.crc = 0;
  std::memcpy(sector.data(), &bytes, sizeof bytes);
  bytes.crc = Crc32c(sector.data(), sector.size());
  std::memcpy(sector.data(), &bytes, sizeof bytes);
  return sector;
}

template <typename Bytes>
uint32_t SealOf(const Sector& sector) {
  Sector copy = sector;
  Bytes bytes;
  std::memcpy(&bytes, copy.data(), sizeof bytes);
  bytes.crc = 0;
  std::memcpy(copy.data(), &bytes, sizeof bytes);
  return Crc32c(copy.data(), copy.size());
}

template <size_t n>
void PutText(const std::string& text, char (&out)[n]) {
  std::memset(out, 0, n);
  std::memcpy(out, text.data(), std::min(text.size(), n - 1));
}

template <size_t n>
absl::Status TakeText(std::string_view name, const char (&in)[n], std::string* out) {
  const size_t length = static_cast<size_t>(std::find(in, in + n, '\0') - in);
  if (length == n || !std::all_of(in + length, in + n, [](char c) { return c == 0; })) {
    return absl::DataLossError(
        absl::StrCat("header: ", AbslView(name), " is not a text that ends in zeros"));
  }
  out->assign(in, length);
  return absl::OkStatus();
}

template <size_t n>
void PutDigest(const Sha256Digest& digest, uint8_t (&out)[n]) {
  std::copy(digest.begin(), digest.end(), out);
}

template <size_t n>
void TakeDigest(const uint8_t (&in)[n], Sha256Digest* digest) {
  std::copy(in, in + n, digest->begin());
}

absl::Status CheckKind(const HeaderBytes& b, uint64_t available) {
  if (available < offsetof(HeaderBytes, crc) || std::memcmp(b.magic, kMagic, sizeof kMagic) != 0) {
    return absl::InvalidArgumentError(
        "not a Rill session file: it does not begin with the magic bytes");
  }
  if (b.major == kMajor && b.minor <= kMinor) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("session file version ", b.major, ".", b.minor,
                                                    ", this build reads ", kMajor, ".0 to ", kMajor,
                                                    ".", kMinor));
}

absl::StatusOr<Header> TakeHeader(const HeaderBytes& b) {
  Header header;
  header.crc = b.crc;
  TakeDigest(b.architecture, &header.identity.architecture);
  TakeDigest(b.tokenizer, &header.identity.tokenizer);
  TakeDigest(b.weights, &header.identity.weights);
  RILL_RETURN_IF_ERROR(TakeText("quantization", b.quantization, &header.identity.quantization));
  RILL_RETURN_IF_ERROR(TakeText("state_layout", b.state_layout, &header.identity.state_layout));
  RILL_RETURN_IF_ERROR(TakeText("numerics", b.numerics, &header.identity.numerics));
  RILL_RETURN_IF_ERROR(TakeText("mla_dtype", b.mla_dtype, &header.geometry.mla_dtype));
  header.geometry.page_tokens = b.page_tokens;
  header.geometry.vocab_size = b.vocab_size;
  header.geometry.page_bytes = b.page_bytes;
  header.geometry.fixed_bytes = b.fixed_bytes;
  header.geometry.ring_bytes = b.ring_bytes;
  header.geometry.ring_slots = b.ring_slots;
  absl::Status status = ValidateIdentity(header.identity);
  if (status.ok()) status = ValidateGeometry(header.geometry);
  // The checksum was right, so a hand made this; the file is bad all the same.
  if (!status.ok()) return absl::DataLossError(absl::StrCat("header: ", status.message()));
  return header;
}

}  // namespace

Layout MakeLayout(const SessionGeometry& g) {
  const uint64_t logits_bytes = uint64_t{g.vocab_size} * sizeof(float);
  Layout layout;
  layout.fixed_offset = g.page_bytes;
  layout.logits_offset = AlignUp(g.page_bytes + g.fixed_bytes, kFieldAlign);
  layout.slot_bytes = AlignUp(layout.logits_offset + logits_bytes, kSector);
  layout.log_begin = AlignUp(kSlotOffset + 2 * layout.slot_bytes, kPageAlign);
  layout.rung_logits_offset = AlignUp(g.fixed_bytes, kFieldAlign);
  layout.rung_bytes = layout.rung_logits_offset + logits_bytes;
  return layout;
}

Sector EncodeHeader(Header& header) {
  HeaderBytes b{};
  std::memcpy(b.magic, kMagic, sizeof kMagic);
  b.major = kMajor;
  b.minor = kMinor;
  PutDigest(header.identity.architecture, b.architecture);
  PutDigest(header.identity.tokenizer, b.tokenizer);
  PutDigest(header.identity.weights, b.weights);
  PutText(header.identity.quantization, b.quantization);
  PutText(header.identity.state_layout, b.state_layout);
  PutText(header.identity.numerics, b.numerics);
  PutText(header.geometry.mla_dtype, b.mla_dtype);
  b.page_tokens = header.geometry.page_tokens;
  b.vocab_size = header.geometry.vocab_size;
  b.page_bytes = header.geometry.page_bytes;
  b.fixed_bytes = header.geometry.fixed_bytes;
  b.ring_bytes = header.geometry.ring_bytes;
  b.ring_slots = header.geometry.ring_slots;
  const Sector sector = Seal(b);
  header.crc = b.crc;
  return sector;
}

absl::StatusOr<Header> DecodeHeader(const Sector& sector, uint64_t available) {
  HeaderBytes b;
  std::memcpy(&b, sector.data(), sizeof b);
  RILL_RETURN_IF_ERROR(CheckKind(b, available));
  if (available < kSector) {
    return absl::DataLossError(
        absl::StrCat("truncated: the file has ", available, " bytes, the header has ", kSector));
  }
  const uint32_t crc = SealOf<HeaderBytes>(sector);
  if (crc != b.crc) return BadChecksum("header", 0, crc, b.crc);
  if (b.reserved != 0 || !AllZero(sector.data() + sizeof b, sector.size() - sizeof b))
    return absl::DataLossError("the unused part of the header is not zero");
  return TakeHeader(b);
}

Sector EncodeRoot(const Root& root) {
  RootBytes b{};
  std::memcpy(b.magic, kRootMagic, sizeof kRootMagic);
  b.flags = root.has_logits ? kHasLogits : 0;
  b.generation = root.generation;
  b.position = root.position;
  b.log_end = root.log_end;
  b.directory_offset = root.directory_offset;
  b.directory_bytes = root.directory_bytes;
  b.directory_crc = root.directory_crc;
  b.slot_crc = root.slot_crc;
  b.header_crc = root.header_crc;
  PutDigest(root.ledger, b.ledger);
  return Seal(b);
}

RecordState DecodeRoot(const Sector& sector, Root* root) {
  RootBytes b;
  std::memcpy(&b, sector.data(), sizeof b);
  if (AllZero(sector.data(), sector.size())) return RecordState::kZero;
  if (std::memcmp(b.magic, kRootMagic, sizeof kRootMagic) != 0 ||
      SealOf<RootBytes>(sector) != b.crc || b.reserved != 0 || (b.flags & ~kHasLogits) != 0 ||
      !AllZero(sector.data() + sizeof b, sector.size() - sizeof b)) {
    return RecordState::kInvalid;
  }
  root->generation = b.generation;
  root->position = b.position;
  root->log_end = b.log_end;
  root->directory_offset = b.directory_offset;
  root->directory_bytes = b.directory_bytes;
  root->directory_crc = b.directory_crc;
  root->slot_crc = b.slot_crc;
  root->header_crc = b.header_crc;
  root->has_logits = (b.flags & kHasLogits) != 0;
  TakeDigest(b.ledger, &root->ledger);
  return RecordState::kValid;
}

Sector EncodeOpenMark(const OpenMark& mark) {
  OpenMarkBytes b{};
  std::memcpy(b.magic, kOpenMagic, sizeof kOpenMagic);
  b.header_crc = mark.header_crc;
  b.base_generation = mark.base_generation;
  b.log_end = mark.log_end;
  return Seal(b);
}

bool DecodeOpenMark(const Sector& sector, OpenMark* mark) {
  OpenMarkBytes b;
  std::memcpy(&b, sector.data(), sizeof b);
  if (std::memcmp(b.magic, kOpenMagic, sizeof kOpenMagic) != 0 ||
      SealOf<OpenMarkBytes>(sector) != b.crc) {
    return false;
  }
  *mark = {b.base_generation, b.log_end, b.header_crc};
  return true;
}

bool AllZero(const std::byte* data, size_t bytes) {
  return bytes == 0 || (data[0] == std::byte{0} && std::memcmp(data, data + 1, bytes - 1) == 0);
}

std::string Hex(uint32_t crc) { return absl::StrCat("0x", absl::Hex(crc, absl::kZeroPad8)); }

absl::Status BadChecksum(std::string_view section, uint64_t offset, uint32_t found,
                         uint32_t expected) {
  return absl::DataLossError(absl::StrCat(AbslView(section), " at ", offset, ": checksum ",
                                          Hex(found), ", expected ", Hex(expected)));
}

}  // namespace rill::session_file
